"""Loudness and true peak, held against the standard's own figures and against pyloudnorm."""

import numpy as np
import pytest

from stages.loudness import integrated_loudness_lufs, true_peak_dbtp
from tests.stages.media_files import sine
from tests.stages.recorded import speech_like


@pytest.mark.parametrize("rate_hz", [24_000, 44_100, 48_000])
def test_a_full_scale_sine_of_997_hz_reads_minus_3_01_lufs(rate_hz: int) -> None:
    tone = sine(3, rate_hz, 997, level=1.0).astype(np.float32)
    assert integrated_loudness_lufs(tone, rate_hz) == pytest.approx(-3.01, abs=0.03)


@pytest.mark.parametrize("seconds", [0.4, 1.0, 20.0])
def test_speech_reads_as_in_pyloudnorm(seconds: float) -> None:
    from pyloudnorm import Meter

    speech = speech_like(max(seconds, 2.0), seed=1)[24_000 - 9600 :][: round(seconds * 24_000)]
    reference = Meter(24_000, filter_class="DeMan").integrated_loudness(speech.astype(np.float64))
    assert integrated_loudness_lufs(speech, 24_000) == pytest.approx(reference, abs=0.01)


def test_filtering_in_blocks_is_filtering_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    speech = speech_like(5.0, seed=2)
    whole = integrated_loudness_lufs(speech, 24_000)
    monkeypatch.setattr("stages.loudness._FILTER_SAMPLES", 5000)
    assert integrated_loudness_lufs(speech, 24_000) == pytest.approx(whole, abs=1e-9)


def test_pauses_do_not_make_speech_quieter() -> None:
    speech = speech_like(5.0, seed=3)
    with_pauses = np.concatenate([speech, np.zeros(10 * 24_000, np.float32)])
    assert integrated_loudness_lufs(with_pauses, 24_000) == pytest.approx(
        integrated_loudness_lufs(speech, 24_000), abs=0.3
    )


def test_what_is_too_short_or_silent_has_no_loudness() -> None:
    assert integrated_loudness_lufs(np.ones(9599, np.float32), 24_000) is None
    assert integrated_loudness_lufs(np.zeros(48_000, np.float32), 24_000) is None
    assert integrated_loudness_lufs(sine(2, 24_000, level=1e-5).astype(np.float32), 24_000) is None


@pytest.mark.parametrize("share_of_rate", [1 / 4, 1 / 6, 1 / 8, 0.35])
def test_the_peak_between_samples_is_found(share_of_rate: float) -> None:
    phase = 2 * np.pi * share_of_rate * np.arange(24_000) + np.pi / 4
    fade = np.minimum(1, np.arange(24_000) / 2000)  # a hard start would ring
    tone = (0.5 * np.sin(phase) * fade * fade[::-1]).astype(np.float32)
    assert true_peak_dbtp(tone) == pytest.approx(20 * np.log10(0.5), abs=0.1)


def test_skipping_quiet_blocks_does_not_change_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    speech = speech_like(6.0, seed=4)
    peak = true_peak_dbtp(speech)
    monkeypatch.setattr("stages.loudness._PEAK_SAMPLES", 1 << 20)  # one block: nothing to skip
    assert true_peak_dbtp(speech) == pytest.approx(peak, abs=1e-9)
    assert peak is not None
    assert peak >= 20 * np.log10(np.abs(speech).max())


def test_digital_silence_has_no_peak() -> None:
    assert true_peak_dbtp(np.zeros(1000, np.float32)) is None
    assert true_peak_dbtp(np.zeros(0, np.float32)) is None
