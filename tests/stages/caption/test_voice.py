"""Measures of a voice agree with how the voice was made."""

import numpy as np
import pytest

from stages.caption.voice import VoiceMeasures, measure_voice
from tests.stages.caption.synthetic_voice import RATE_HZ, synthetic_voice


@pytest.mark.parametrize("pitch_hz", [75.0, 110.0, 170.0, 240.0, 350.0, 450.0])
def test_pitch_is_measured_to_a_quarter_of_a_semitone(pitch_hz: float) -> None:
    measures = measure_voice(synthetic_voice(pitch_hz=pitch_hz, range_st=1.0), None)
    assert measures.pitch_hz == pytest.approx(pitch_hz, rel=0.0145)


@pytest.mark.parametrize("pitch_hz", [100.0, 220.0])
def test_pitch_survives_noise(pitch_hz: float) -> None:
    noisy = synthetic_voice(pitch_hz=pitch_hz, range_st=1.0, snr_db=5.0)
    assert measure_voice(noisy, None).pitch_hz == pytest.approx(pitch_hz, rel=0.03)


def test_a_pure_tone_is_no_octave_off() -> None:
    time = np.arange(RATE_HZ) / RATE_HZ
    for frequency_hz in (80.0, 160.0, 320.0, 480.0):
        tone = (0.2 * np.sin(2 * np.pi * frequency_hz * time)).astype(np.float32)
        assert measure_voice(tone, None).pitch_hz == pytest.approx(frequency_hz, rel=0.01)


def test_a_missing_fundamental_is_still_heard_as_pitch() -> None:
    time = np.arange(RATE_HZ) / RATE_HZ
    harmonics = np.sum([np.sin(2 * np.pi * 120 * n * time) for n in range(3, 12)], axis=0)
    telephone = (0.02 * harmonics).astype(np.float32)
    assert measure_voice(telephone, None).pitch_hz == pytest.approx(120, rel=0.01)


@pytest.mark.parametrize("range_st", [2.0, 6.0, 12.0])
def test_pitch_range_follows_the_swing(range_st: float) -> None:
    measures = measure_voice(synthetic_voice(range_st=range_st, seconds=8.0), None)
    # A sine spends its middle 80 % within 95 % of its swing.
    assert measures.pitch_range_st == pytest.approx(0.95 * range_st, rel=0.15)


@pytest.mark.parametrize("syllables_per_s", [2.0, 3.0, 4.0, 5.0, 6.0])
def test_syllables_are_counted(syllables_per_s: float) -> None:
    voice = synthetic_voice(syllables_per_s=syllables_per_s, seconds=6.0)
    measured = measure_voice(voice, 6.0).syllables_per_s
    assert measured == pytest.approx(syllables_per_s, rel=0.08)


def test_syllables_are_counted_over_the_seconds_of_speech() -> None:
    voice = synthetic_voice(seconds=3.0)
    padded = np.concatenate([voice, np.zeros(3 * RATE_HZ, np.float32)])
    whole = measure_voice(voice, 3.0).syllables_per_s
    assert measure_voice(padded, 3.0).syllables_per_s == pytest.approx(whole)


def test_loudness_changes_neither_pitch_nor_pace_nor_tilt() -> None:
    loud, soft = (measure_voice(synthetic_voice(peak=peak), 4.0) for peak in (0.5, 0.02))
    assert soft.pitch_hz == pytest.approx(loud.pitch_hz, rel=1e-3)
    assert soft.syllables_per_s == loud.syllables_per_s
    assert soft.spectral_tilt_db == pytest.approx(loud.spectral_tilt_db, abs=0.1)


def test_tilt_tells_bright_from_dark() -> None:
    voice = synthetic_voice()
    dark = np.convolve(voice, np.hanning(24) / np.hanning(24).sum(), "same").astype(np.float32)
    bright = np.diff(voice, prepend=np.float32(0))
    tilts = [measure_voice(one, None).spectral_tilt_db for one in (dark, voice, bright)]
    assert None not in tilts
    assert tilts == sorted(tilts, key=float)  # type: ignore[arg-type]


def test_loudness_range_follows_the_swells() -> None:
    voice = synthetic_voice(seconds=8.0)
    swell = 10 ** (-np.linspace(0, 18, len(voice)) / 20)
    even, varied = (measure_voice(v.astype(np.float32), None) for v in (voice, voice * swell))
    assert even.loudness_range_db is not None
    assert even.loudness_range_db < 6
    assert varied.loudness_range_db is not None
    assert varied.loudness_range_db > 12


@pytest.mark.parametrize(
    "samples",
    [np.zeros(0, np.float32), np.full(100, 0.1, np.float32), np.zeros(RATE_HZ, np.float32)],
    ids=["empty", "under one window", "silence"],
)
def test_nothing_to_measure_gives_nothing(samples: np.ndarray) -> None:
    assert measure_voice(samples, None) == VoiceMeasures()


def test_noise_has_a_tilt_but_no_pitch_and_no_syllables() -> None:
    noise = (0.1 * np.random.default_rng(0).standard_normal(2 * RATE_HZ)).astype(np.float32)
    measures = measure_voice(noise, None)
    assert measures.pitch_hz is None
    assert measures.syllables_per_s is None
    assert measures.spectral_tilt_db is not None
