"""The estimated reverberation time follows the room's."""

import numpy as np
import pytest
from scipy.signal import fftconvolve

from schemas.codes import Waveform
from stages.reverberation import rt60_s
from tests.stages.recorded import RATE_HZ, shared_recording, speech_like


def in_room(samples: Waveform, seconds: float, seed: int = 0) -> Waveform:
    """With exponentially decaying noise as strong as the direct sound."""
    t = np.arange(round(1.2 * seconds * RATE_HZ)) / RATE_HZ
    tail = np.random.default_rng(seed).standard_normal(len(t)) * 10 ** (-3 * t / seconds)
    tail /= np.sqrt(np.sum(tail**2))
    tail[0] += 1.0
    wet: Waveform = fftconvolve(samples, tail)[: len(samples)].astype(np.float32)
    return wet


@pytest.mark.parametrize("seed", [0, 1])
def test_it_rises_with_the_room(seed: int) -> None:
    speech = speech_like(8.0, seed)
    rooms = [rt60_s(in_room(speech, seconds, seed), RATE_HZ) for seconds in (0.15, 0.3, 0.6, 1.2)]
    estimates = [rt60_s(speech, RATE_HZ), *rooms]
    figures = [estimate for estimate in estimates if estimate is not None]
    assert len(figures) == 5
    assert figures == sorted(figures)
    assert figures[1] < figures[2] < figures[3] < figures[4]


@pytest.mark.parametrize("seconds", [0.3, 0.5, 0.8])
def test_real_speech_in_a_synthetic_room_is_measured_within_a_third(seconds: float) -> None:
    speech = shared_recording("speech-en/librispeech-533-1066-0001.flac")
    assert rt60_s(in_room(speech, seconds, seed=7), RATE_HZ) == pytest.approx(seconds, rel=0.33)


def test_level_does_not_matter() -> None:
    wet = in_room(speech_like(5.0), 0.4)
    assert rt60_s(wet, RATE_HZ) == pytest.approx(rt60_s(0.1 * wet, RATE_HZ), rel=0.02)


def test_silence_scraps_and_steady_sound_do_not_break_it() -> None:
    assert rt60_s(np.zeros(RATE_HZ, np.float32), RATE_HZ) is None
    assert rt60_s(speech_like(1.0)[:2000], RATE_HZ) is None
    hiss = np.random.default_rng(0).standard_normal(3 * RATE_HZ).astype(np.float32)
    assert rt60_s(hiss, RATE_HZ) is None
