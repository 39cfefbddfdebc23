"""Everything that is heard in the corpus and is not speech, and levels. Seeded throughout."""

import numpy as np
import pyloudnorm

from jobs.demo.voices import WORK_RATE_HZ, Audio

_CHORDS_HZ = (
    (130.81, 261.63, 329.63, 392.00),  # C major
    (110.00, 261.63, 329.63, 440.00),  # A minor
    (87.31, 220.00, 261.63, 349.23),  # F major
    (98.00, 246.94, 293.66, 392.00),  # G major
)
_CHORD_S = 2.2
_ATTACK_S = 0.7
_HIGHEST_PEAK = 0.95


def pink_noise(num_samples: int, seed: int) -> Audio:
    """Noise that falls 3 dB an octave, of RMS 1: how rooms and lines sound when nobody talks."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(num_samples))
    bins = np.arange(len(spectrum), dtype=np.float64)
    spectrum[0] = 0.0
    spectrum[1:] /= np.sqrt(bins[1:])
    noise: Audio = np.fft.irfft(spectrum, num_samples)
    return noise / np.sqrt(np.mean(noise**2))


def music_bed(num_samples: int, seed: int) -> Audio:
    """Slow chords of soft partials at `WORK_RATE_HZ`, of RMS 1, faded in and out."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(num_samples) / WORK_RATE_HZ
    bed = np.zeros(num_samples)
    for number in range(int(np.ceil(num_samples / WORK_RATE_HZ / _CHORD_S))):
        since_s = time_s - number * _CHORD_S
        rise = np.clip(since_s / _ATTACK_S, 0.0, 1.0)
        fall = np.clip((_CHORD_S + _ATTACK_S - since_s) / _ATTACK_S, 0.0, 1.0)
        swell = np.sin(0.5 * np.pi * np.minimum(rise, fall)) ** 2
        for pitch_hz in _CHORDS_HZ[number % len(_CHORDS_HZ)]:
            for partial in (1, 2, 3):
                detune = 1.0 + rng.uniform(-1e-3, 1e-3)
                phase = rng.uniform(0.0, 2 * np.pi)
                frequency_hz = pitch_hz * partial * detune
                bed += swell * np.sin(2 * np.pi * frequency_hz * time_s + phase) / partial**2
    edge = np.clip(np.minimum(time_s, time_s[::-1]) / _ATTACK_S, 0.0, 1.0)
    bed *= edge
    return bed / np.sqrt(np.mean(bed**2))


def to_loudness(audio: Audio, rate_hz: int, lufs: float) -> Audio:
    """Audio [C, N] or [N] scaled to an integrated loudness (BS.1770).

    Raises `ValueError` where that would clip: the script of the recording has to ask for less.
    """
    measured = pyloudnorm.Meter(rate_hz).integrated_loudness(audio.T)
    scaled: Audio = audio * 10 ** ((lufs - measured) / 20)
    peak = float(np.max(np.abs(scaled)))
    if peak > _HIGHEST_PEAK:
        raise ValueError(
            f"{lufs} LUFS would peak at {peak:.2f}, above {_HIGHEST_PEAK}; ask for less"
        )
    return scaled
