"""Segments for tests of the labelling stages: text, speakers, measurements and a waveform."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from schemas.codes import Waveform
from schemas.ids import segment_id
from schemas.spans import SegmentSpan
from stages.audio import Audio
from stages.base import Recording, Segment

RATE_HZ = 16_000


def make_segment(
    text: str | None = None,
    *,
    samples: Waveform | None = None,
    speaker: str = "A",
    rate_hz: int = RATE_HZ,
    key: str = "recording",
    overlap_s: float = 0.0,
    **values: Any,
) -> Segment:
    """One segment that is a whole recording; a second of silence where no samples are given."""
    samples = np.zeros(rate_hz, np.float32) if samples is None else samples
    span = SegmentSpan(0, len(samples), speaker, overlap_s)
    recording = Recording(key, key, key, {"audio": Audio(samples, rate_hz), "spans": [span]})
    return Segment(
        segment_id(key, 0, len(samples)),
        0,
        len(samples),
        speaker,
        {"text": text, **values},
        recording,
    )


def make_dialogue(
    lines: Sequence[tuple[str, str | None]], *, line_s: float = 5.0, key: str = "dialogue"
) -> list[Segment]:
    """Segments of one recording, one after the other: (speaker, text), `line_s` seconds each."""
    step = round(line_s * RATE_HZ)
    audio = Audio(np.zeros(step * len(lines), np.float32), RATE_HZ)
    recording = Recording(key, key, key, {"audio": audio})
    return [
        Segment(
            segment_id(key, index * step, (index + 1) * step),
            index * step,
            (index + 1) * step,
            speaker,
            {"text": text},
            recording,
        )
        for index, (speaker, text) in enumerate(lines)
    ]
