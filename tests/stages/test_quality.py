"""The signal measurements of a segment, together."""

import math

import numpy as np
import pytest

from schemas.codes import Waveform
from schemas.segments import SEGMENTS
from schemas.spans import Span
from schemas.verdict import Keep
from stages.base import Segment
from stages.quality import DspQuality, DspQualitySpec, speech_within
from stages.registry import stage_class
from tests.stages.recorded import RATE_HZ, segment_of, speech_like


def quality_segment(
    samples: Waveform, *, start_s: float = 0.0, end_s: float | None = None
) -> Segment:
    return segment_of(
        samples,
        start_sample=round(start_s * RATE_HZ),
        end_sample=None if end_s is None else round(end_s * RATE_HZ),
        speech=[Span(RATE_HZ, 3 * RATE_HZ), Span(4 * RATE_HZ, 7 * RATE_HZ)],
        source_sample_rate_hz=16_000,
    )


def measure(*segments: Segment) -> list[dict[str, object]]:
    verdicts = DspQuality(DspQualitySpec()).process(segments)
    assert all(isinstance(verdict, Keep) for verdict in verdicts)
    return [dict(verdict.values) for verdict in verdicts]


def test_every_declared_column_is_written_with_a_finite_figure() -> None:
    (values,) = measure(quality_segment(speech_like(8.0)))
    assert values.keys() == DspQuality.writes <= SEGMENTS.column_names
    assert all(isinstance(value, float) and math.isfinite(value) for value in values.values())
    assert values["bandwidth_hz"] == 8000.0  # half of the source's rate


def test_speech_is_cut_to_the_segment() -> None:
    segment = quality_segment(speech_like(8.0), start_s=2.0, end_s=5.0)
    assert speech_within(segment) == [Span(0, RATE_HZ), Span(2 * RATE_HZ, 3 * RATE_HZ)]
    (values,) = measure(segment)
    assert values["speech_ratio"] == pytest.approx(2 / 3)


def test_a_segment_measures_as_its_samples_do_alone_and_in_any_company() -> None:
    samples = speech_like(8.0)
    segments = [
        quality_segment(samples, start_s=1.0, end_s=3.0),
        quality_segment(samples, start_s=4.0, end_s=7.0),
    ]
    alone = [measure(segment)[0] for segment in segments]
    assert measure(*segments) == alone
    assert measure(*reversed(segments)) == alone[::-1]


def test_loudness_follows_the_gain() -> None:
    samples = speech_like(8.0)
    (loud,), (faint,) = measure(quality_segment(samples)), measure(quality_segment(0.1 * samples))
    assert isinstance(loud["segment_lufs"], float)
    assert faint["segment_lufs"] == pytest.approx(loud["segment_lufs"] - 20.0, abs=0.01)


def test_what_cannot_be_measured_is_null() -> None:
    (values,) = measure(quality_segment(np.zeros(8 * RATE_HZ, np.float32)))
    assert values["clipping_ratio"] == 0.0
    for column in ("snr_db", "bandwidth_hz", "rt60_s", "segment_lufs"):
        assert values[column] is None


def test_it_is_the_default_engine() -> None:
    assert stage_class("quality") is DspQuality
