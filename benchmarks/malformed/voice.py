"""Four seconds that sound like somebody who talks: the good audio in every damaged file."""

from functools import cache

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float64]
"""Shape `[num_samples]`, or `[num_channels, num_samples]` where said; full scale is 1."""

SECONDS = 4.0
_VOWELS_HZ = (
    (730, 1090, 2440),
    (270, 2290, 3010),
    (300, 870, 2240),
    (530, 1840, 2480),
    (570, 840, 2410),
)
"""First three formants of men's a, i, u, e, o (Peterson and Barney, 1952)."""
_FORMANT_WIDTH_HZ = 110.0
_SYLLABLES_PER_S = 4.0
_HIGHEST_HARMONIC_HZ = 3800.0  # below the Nyquist rate of a telephone line
_PEAK = 0.5


@cache
def voice(rate_hz: int = 16_000, pitch_hz: float = 120.0, seconds: float = SECONDS) -> Samples:
    """Vowels of one speaker, four syllables a second with short gaps, shape `[num_samples]`."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    contour_hz = pitch_hz * (1 + 0.12 * np.sin(2 * np.pi * 0.6 * time_s))
    phase = 2 * np.pi * np.cumsum(contour_hz) / rate_hz
    place = time_s * _SYLLABLES_PER_S
    vowel = np.floor(place).astype(int) * 3 % len(_VOWELS_HZ)
    loudness = np.clip(1.4 * np.sin(np.pi * (place % 1)), 0, 1)
    sound = np.zeros_like(time_s)
    for number in range(1, int(_HIGHEST_HARMONIC_HZ / pitch_hz / 1.12)):
        frequency_hz = number * pitch_hz
        strength = np.array([_response(frequency_hz, formants) for formants in _VOWELS_HZ])
        sound += strength[vowel] * np.sin(number * phase)
    sound *= loudness
    sound *= _PEAK / np.abs(sound).max()
    sound.flags.writeable = False  # shared by all callers
    return sound


def _response(frequency_hz: float, formants_hz: tuple[int, int, int]) -> float:
    """Gain of a vowel's resonances, each a peak that is 6 dB weaker than the one before."""
    return sum(
        0.5**rank / (1 + ((frequency_hz - formant_hz) / _FORMANT_WIDTH_HZ) ** 2)
        for rank, formant_hz in enumerate(formants_hz)
    )
