"""Normalized recordings, judged by meters that are not the stage's own."""

import math
from typing import Any

import numpy as np
import pytest

from schemas.verdict import Keep
from stages.audio import Audio
from stages.base import Recording
from stages.normalize import Bs1770Normalize
from tests.stages.media_files import Samples
from tests.stages.recorded import speech_like


def normalized(samples: Samples, rate_hz: int) -> dict[str, Any]:
    stage = Bs1770Normalize(Bs1770Normalize.Spec())
    audio = Audio(samples.astype(np.float32), rate_hz)
    verdict = stage.process(Recording("s", "r", "u", {"audio": audio}))
    assert isinstance(verdict, Keep)
    return dict(verdict.values)


def loudness_lufs(samples: Samples) -> float:
    from pyloudnorm import Meter

    # Whole tenths of a second: pyloudnorm counts a last block of which a part is missing.
    whole = samples[: len(samples) // 2400 * 2400]
    return float(Meter(24_000).integrated_loudness(whole.astype(np.float64)))


def peak_dbtp(samples: Samples) -> float:
    """Peak at sixteen times the rate, through the spectrum: finer than the standard asks."""
    padded = np.pad(samples.astype(np.float64), 2400)
    num_samples = 16 * len(padded)
    spectrum = np.fft.rfft(padded)
    fine = np.fft.irfft(spectrum, num_samples) * 16
    return float(20 * np.log10(np.abs(fine).max()))


def stepped(seconds: float, rate_hz: int) -> Samples:
    """Speech-like sound that is far louder in its second half."""
    samples = speech_like(seconds, seed=5, rate_hz=rate_hz)
    samples[: len(samples) // 2] *= 0.1
    return samples


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 44_100, 48_000])
def test_another_meter_reads_the_target(rate_hz: int) -> None:
    values = normalized(0.1 * speech_like(4.0, seed=6, rate_hz=rate_hz), rate_hz)
    samples = values["audio"].samples
    assert values["true_peak_dbtp"] + values["gain_db"] < -1.0  # the ceiling does not bind
    assert loudness_lufs(samples) == pytest.approx(-23.0, abs=0.2)
    assert peak_dbtp(samples) < -1.0


def test_the_ceiling_holds_between_the_samples_too() -> None:
    samples = 0.05 * stepped(4.0, 24_000)
    noise = np.random.default_rng(8).standard_normal(24_000)
    samples[:200] += 0.2 * noise[:200].astype(np.float32)
    values = normalized(samples, 24_000)
    assert values["true_peak_dbtp"] + values["gain_db"] == pytest.approx(-1.0)
    # White noise is the worst case: the meter samples a tone at half the rate eight times a period,
    # so it may miss the crest by a sixteenth of a period, 0.69 dB.
    missed_db = -20 * math.log10(math.cos(math.pi / 8))
    assert peak_dbtp(values["audio"].samples) < -1.0 + missed_db
    assert loudness_lufs(values["audio"].samples) < -23.2


def test_one_gain_serves_the_whole_recording() -> None:
    samples = stepped(4.0, 24_000)
    values = normalized(samples, 24_000)
    expected = samples * 10 ** (values["gain_db"] / 20)
    assert np.abs(values["audio"].samples - expected).max() < 1e-6


@pytest.mark.parametrize("rate_hz", [7_999, 8_000, 11_025, 22_050, 44_100, 96_000])
@pytest.mark.parametrize("num_samples", [1, 2, 31_337])
def test_the_length_is_rounded_up_to_whole_samples(rate_hz: int, num_samples: int) -> None:
    samples = 0.1 * np.random.default_rng(9).standard_normal(num_samples)
    values = normalized(samples, rate_hz)
    assert values["num_samples"] == math.ceil(num_samples * 24_000 / rate_hz)
    assert values["audio"].num_samples == values["num_samples"]


def test_the_same_recording_twice_gives_the_same_samples() -> None:
    samples = stepped(3.0, 44_100)
    first, second = normalized(samples, 44_100), normalized(samples, 44_100)
    assert np.array_equal(first.pop("audio").samples, second.pop("audio").samples)
    assert first == second
