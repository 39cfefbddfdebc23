"""Windows and features that Whisper is fed with."""

import numpy as np
import pytest

from schemas.spans import Span
from stages.asr.whisper_windows import (
    NUM_HOPS,
    RATE_HZ,
    speech_windows,
    whisper_features,
    windows_of,
)
from tests.stages.recorded import RATE_HZ as TIMELINE_HZ
from tests.stages.recorded import segment_of, speech_like


@pytest.mark.parametrize("kind", ["speech", "faint", "silence", "full"])
def test_features_equal_those_of_audio_padded_to_thirty_seconds(kind: str) -> None:
    extractor_module = pytest.importorskip("faster_whisper.feature_extractor")
    extractor = extractor_module.FeatureExtractor(feature_size=80)
    samples = {
        "speech": speech_like(2.3, rate_hz=RATE_HZ),
        "faint": 1e-5 * speech_like(2.3, rate_hz=RATE_HZ),
        "silence": np.zeros(RATE_HZ, np.float32),
        "full": speech_like(30.0, rate_hz=RATE_HZ),
    }[kind]
    padded = np.pad(samples, (0, 30 * RATE_HZ - len(samples)))
    expected = extractor(padded, padding=extractor.n_fft)[:, :NUM_HOPS]
    features = whisper_features(samples, extractor)
    assert features.shape == (80, NUM_HOPS)
    np.testing.assert_allclose(features, expected, atol=1e-5)


def test_a_short_segment_is_one_window() -> None:
    segment = segment_of(speech_like(5.0), start_sample=1200, end_sample=2 * TIMELINE_HZ)
    (window,) = windows_of(3, segment)
    assert (window.segment_index, window.start_sample, window.end_sample) == (3, 1200, 48_000)
    assert len(window.samples) == (48_000 - 1200) * 2 // 3
    assert window.num_hops == 195


def test_a_long_segment_is_cut_into_equal_windows_without_gap() -> None:
    segment = segment_of(np.zeros(70 * TIMELINE_HZ, np.float32), start_sample=7)
    windows = windows_of(0, segment)
    assert len(windows) == 3
    assert windows[0].start_sample == 7
    assert windows[-1].end_sample == 70 * TIMELINE_HZ
    assert [w.end_sample for w in windows[:-1]] == [w.start_sample for w in windows[1:]]
    assert all(window.duration_s <= 30.0 for window in windows)


def test_speech_windows_start_in_speech_and_are_spread_over_it() -> None:
    spans = [Span(2 * TIMELINE_HZ, 4 * TIMELINE_HZ), Span(90 * TIMELINE_HZ, 94 * TIMELINE_HZ)]
    ramp = (np.arange(100 * TIMELINE_HZ) / (100 * TIMELINE_HZ)).astype(np.float32)
    recording = segment_of(ramp, speech=spans).recording
    windows = speech_windows(recording, 3)
    starts_s = [float(window[100]) * 100 for window in windows]
    assert starts_s == pytest.approx([2.0, 90.0, 92.0], abs=0.1)
    assert [len(window) for window in windows] == [30 * RATE_HZ, 10 * RATE_HZ, 8 * RATE_HZ]


def test_a_recording_without_speech_has_no_speech_windows() -> None:
    assert speech_windows(segment_of(speech_like(1.0), speech=[]).recording, 3) == []
