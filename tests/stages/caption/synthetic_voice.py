"""Voices made of pulses, formants and syllables, with known pitch, pace and noise."""

import numpy as np
from scipy.signal import lfilter

from schemas.codes import Waveform

RATE_HZ = 16_000
FORMANTS_HZ = ((700.0, 90.0), (1220.0, 110.0), (2600.0, 160.0))


def synthetic_voice(
    *,
    pitch_hz: float = 120.0,
    range_st: float = 4.0,
    syllables_per_s: float = 4.0,
    seconds: float = 4.0,
    snr_db: float = 60.0,
    peak: float = 0.3,
    seed: int = 0,
) -> Waveform:
    """A vowel cut into syllables; pitch swings as a sine over `range_st` semitones in all."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    swing = 0.5 * range_st * np.sin(2 * np.pi * 0.7 * time)
    phase = np.cumsum(pitch_hz * 2 ** (swing / 12) / RATE_HZ)
    pulses = np.diff(np.floor(phase), prepend=0.0)
    voice = pulses + 0.001 * rng.standard_normal(len(time))
    for frequency_hz, width_hz in FORMANTS_HZ:
        radius = np.exp(-np.pi * width_hz / RATE_HZ)
        angle = 2 * np.pi * frequency_hz / RATE_HZ
        voice = lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], voice)
    syllables = 0.5 - 0.5 * np.cos(2 * np.pi * syllables_per_s * time)
    voice = voice * (0.02 + 0.98 * syllables**2)
    voice = voice / np.abs(voice).max() * peak
    noise = rng.standard_normal(len(time)) * np.sqrt(np.mean(voice**2)) * 10 ** (-snr_db / 20)
    return (voice + noise).astype(np.float32)
