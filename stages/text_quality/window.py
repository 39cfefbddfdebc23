"""The dialogue around a segment: who said what shortly before and after."""

from collections.abc import Sequence
from dataclasses import dataclass

from stages.base import Segment


@dataclass(frozen=True, slots=True)
class Line:
    """What one segment says."""

    speaker: str
    text: str
    is_own: bool
    """The segment that is judged; the others are its neighbours."""


def window_around(index: int, segments: Sequence[Segment], context_s: float) -> tuple[Line, ...]:
    """Lines of one recording, in order, that reach within `context_s` seconds of a segment.

    Segments without words are left out. Neighbours that earlier stages dropped are not there.
    """
    own = segments[index]
    reach = round(context_s * own.sample_rate_hz)
    lines = []
    for at, segment in enumerate(segments):
        near = (
            segment.end_sample >= own.start_sample - reach
            and segment.start_sample <= own.end_sample + reach
        )
        text = segment.values["text"]
        if near and text and text.strip():
            lines.append(Line(segment.speaker, text.strip(), at == index))
    return tuple(lines)
