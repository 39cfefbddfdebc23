"""Captions from measured attributes: no model, works offline, English and Chinese alike."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from schemas.verdict import Keep, Verdict
from stages.base import Segment, SegmentStage, StageSpec
from stages.caption.facts import Facts, facts_of
from stages.caption.grammar import captions, grammar, grammar_digest
from stages.caption.spectra import RATE_HZ
from stages.caption.voice import measure_voice

READS = frozenset({"snr_db", "bandwidth_hz", "rt60_s", "speech_ratio", "num_words"})
MEASURED = frozenset(
    {"pitch_hz", "pitch_range_st", "words_per_s", "syllables_per_s", "spectral_tilt_db"}
)
CAPTIONS = frozenset(
    f"caption_{view}_{language}"
    for view in ("voice", "style", "scene")
    for language in ("en", "zh")
)


class AttributeCaptionSpec(StageSpec):
    seed: int = Field(default=0, ge=0)
    """Draws other wordings of the same facts."""


class AttributeCaption(SegmentStage):
    """Measures the voice and says in plain words how it sounds; see `facts.py` for the limits.

    Captions state what was measured and nothing else: pitch, no sex and no age; noise, no place.
    A measurement that is null is not spoken of.
    """

    name: ClassVar[str] = "caption"
    engine: ClassVar[str] = "attributes"
    Spec: ClassVar[type[StageSpec]] = AttributeCaptionSpec
    reads: ClassVar[frozenset[str]] = READS
    writes: ClassVar[frozenset[str]] = MEASURED | CAPTIONS
    speed_x_real_time: ClassVar[float] = 300.0

    def describe(self) -> str:
        return f"attribute-captions 1 grammar-{grammar_digest()}"

    def open(self) -> None:
        grammar()

    def process(self, batch: Sequence[Segment]) -> list[Verdict]:
        return [self._judge(segment) for segment in batch]

    def _judge(self, segment: Segment) -> Verdict:
        columns, facts = measure_segment(segment)
        return Keep(columns | captions(facts, key=segment.segment_id, seed=self.spec.seed))


def measure_segment(segment: Segment) -> tuple[dict[str, Any], Facts]:
    """The `MEASURED` columns of a segment, and its facts from those and from what it reads."""
    read: Mapping[str, float | None] = {name: segment.values[name] for name in READS}
    speech_ratio, num_words = read["speech_ratio"], read["num_words"]
    speech_s = None if speech_ratio is None else speech_ratio * segment.duration_s
    voice = measure_voice(segment.waveform(RATE_HZ), speech_s)
    columns = {
        "pitch_hz": voice.pitch_hz,
        "pitch_range_st": voice.pitch_range_st,
        "words_per_s": None if num_words is None else num_words / segment.duration_s,
        "syllables_per_s": voice.syllables_per_s,
        "spectral_tilt_db": voice.spectral_tilt_db,
    }
    return columns, facts_of({**read, **columns, "loudness_range_db": voice.loudness_range_db})
