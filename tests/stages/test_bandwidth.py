"""How far up the spectrum reaches."""

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

from schemas.codes import Waveform
from stages.bandwidth import bandwidth_hz
from stages.resample import resample
from tests.stages.recorded import RATE_HZ, shared_recording, speech_like


def low_passed(samples: Waveform, hz: float) -> Waveform:
    sections = butter(12, hz, fs=RATE_HZ, output="sos")
    filtered: Waveform = sosfiltfilt(sections, samples).astype(np.float32)
    return filtered


@pytest.mark.parametrize("cut_hz", [2000.0, 4000.0, 6000.0, 8000.0])
def test_a_low_pass_lowers_it_to_where_it_cuts(cut_hz: float) -> None:
    speech = speech_like(6.0)
    assert bandwidth_hz(speech, RATE_HZ) == 12_000.0
    # Forty-eight dB per octave and pass: energy within 50 dB reaches somewhat above the cut.
    measured = bandwidth_hz(low_passed(speech, cut_hz), RATE_HZ)
    assert measured is not None
    assert cut_hz <= measured <= 1.35 * cut_hz


@pytest.mark.parametrize("source_rate_hz", [8_000, 16_000])
def test_resampling_up_adds_no_band(source_rate_hz: int) -> None:
    speech = resample(speech_like(6.0), RATE_HZ, source_rate_hz)
    upsampled = resample(speech, source_rate_hz, RATE_HZ)
    assert bandwidth_hz(upsampled, RATE_HZ, source_rate_hz) == source_rate_hz / 2
    blind = bandwidth_hz(upsampled, RATE_HZ)
    assert blind is not None
    assert source_rate_hz / 2 <= blind <= 1.25 * source_rate_hz / 2


def test_steady_hiss_adds_no_band() -> None:
    hiss = np.random.default_rng(0).standard_normal(6 * RATE_HZ).astype(np.float32)
    narrow = low_passed(speech_like(6.0), 3000.0)
    measured = bandwidth_hz(narrow + 0.002 * hiss, RATE_HZ)
    assert measured is not None
    assert measured <= 4000.0


def test_telephone_and_studio_recordings_are_told_apart() -> None:
    telephone = bandwidth_hz(shared_recording("mixed-formats/jfk-mulaw-8k.wav"), RATE_HZ)
    studio = bandwidth_hz(shared_recording("speech-zh/aishell3-SSB00050112.wav"), RATE_HZ)
    assert telephone is not None
    assert studio is not None
    assert telephone <= 5000.0
    assert studio >= 11_000.0


def test_silence_and_scraps_have_none() -> None:
    assert bandwidth_hz(np.zeros(RATE_HZ, np.float32), RATE_HZ) is None
    assert bandwidth_hz(speech_like(1.0)[:1000], RATE_HZ) is None
