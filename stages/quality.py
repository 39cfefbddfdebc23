"""Signal measurements of a segment: noise, band width, clipping, reverberation, loudness."""

from collections.abc import Sequence
from typing import ClassVar

from schemas.spans import Span
from schemas.verdict import Keep, Verdict
from stages.bandwidth import bandwidth_hz
from stages.base import Resources, Segment, SegmentStage, StageSpec
from stages.clipping import clipping_ratio
from stages.loudness import integrated_loudness_lufs
from stages.reverberation import rt60_s
from stages.snr import snr_db


class DspQualitySpec(StageSpec):
    """Nothing to choose: thresholds belong to the filter and to cuts."""


class DspQuality(SegmentStage):
    """Plain signal processing, no model. A figure that cannot be had (silence, too short) is null.

    Each measurement has its own file, which says how it works, where it comes from and how far it
    can be trusted.
    """

    name: ClassVar[str] = "quality"
    engine: ClassVar[str] = "dsp"
    Spec: ClassVar[type[StageSpec]] = DspQualitySpec
    reads: ClassVar[frozenset[str]] = frozenset({"speech", "source_sample_rate_hz"})
    writes: ClassVar[frozenset[str]] = frozenset(
        {"snr_db", "bandwidth_hz", "clipping_ratio", "rt60_s", "segment_lufs", "speech_ratio"}
    )
    speed_x_real_time: ClassVar[float] = 400.0

    def describe(self) -> str:
        return "dsp 1"  # raise it whenever a figure changes

    def resources(self) -> Resources:
        return Resources(memory_mb=300)

    def process(self, batch: Sequence[Segment]) -> list[Verdict]:
        return [self._measure(segment) for segment in batch]

    def _measure(self, segment: Segment) -> Keep:
        samples, rate_hz = segment.waveform(), segment.sample_rate_hz
        speech = speech_within(segment)
        return Keep(
            {
                "snr_db": snr_db(samples, rate_hz, speech),
                "bandwidth_hz": bandwidth_hz(
                    samples, rate_hz, segment.recording.values["source_sample_rate_hz"]
                ),
                "clipping_ratio": clipping_ratio(samples),
                "rt60_s": rt60_s(samples, rate_hz),
                "segment_lufs": integrated_loudness_lufs(samples, rate_hz),
                "speech_ratio": sum(span.num_samples for span in speech) / len(samples),
            }
        )


def speech_within(segment: Segment) -> list[Span]:
    """The recording's spans of speech, cut to the segment and counted from its first sample."""
    spans: list[Span] = segment.recording.values["speech"]
    cut = (
        Span(
            max(span.start_sample, segment.start_sample) - segment.start_sample,
            min(span.end_sample, segment.end_sample) - segment.start_sample,
        )
        for span in spans
    )
    return [span for span in cut if span.num_samples > 0]
