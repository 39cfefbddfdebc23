"""The mel spectrogram that the P.808 model was trained on, without librosa.

Librosa's own path takes longer than the network behind it, and importing it takes seconds. Agrees
with `librosa.feature.melspectrogram(n_fft=321, hop_length=160, n_mels=120)` followed by
`power_to_db(ref=max)` to float32 rounding.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from schemas.codes import Waveform

RATE_HZ = 16_000
HOP_SAMPLES = 160
_NUM_FFT = 321
_NUM_MELS = 120
_MIN_POWER = 1e-10
_TOP_DB = 80.0

# Slaney's mel scale: linear up to 1 kHz, then 27 steps for each factor of 6.4.
_HZ_PER_MEL = 200 / 3
_BREAK_HZ = 1000.0
_LOG_STEP = np.log(6.4) / 27


def _mel_to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    break_mel = _BREAK_HZ / _HZ_PER_MEL
    above = _BREAK_HZ * np.exp(_LOG_STEP * np.maximum(mel - break_mel, 0.0))
    return np.where(mel < break_mel, mel * _HZ_PER_MEL, above)


@lru_cache(maxsize=1)
def _mel_filters() -> npt.NDArray[np.float32]:
    """Triangles of equal area, shape `[num_bins, num_mels]` (Slaney's Auditory Toolbox)."""
    top_mel = _BREAK_HZ / _HZ_PER_MEL + np.log(RATE_HZ / 2 / _BREAK_HZ) / _LOG_STEP
    corners_hz = _mel_to_hz(np.linspace(0.0, top_mel, _NUM_MELS + 2))
    low, centre, high = corners_hz[:-2], corners_hz[1:-1], corners_hz[2:]
    bins_hz = (np.arange(_NUM_FFT // 2 + 1) * RATE_HZ / _NUM_FFT)[:, None]
    rising = (bins_hz - low) / (centre - low)
    falling = (high - bins_hz) / (high - centre)
    triangles = np.maximum(np.minimum(rising, falling), 0.0) * 2.0 / (high - low)
    return triangles.astype(np.float32)


@lru_cache(maxsize=1)
def _windowed_dft() -> npt.NDArray[np.float32]:
    """Real and imaginary part of a Hann-windowed DFT, shape `[num_fft, 2 * num_bins]`.

    321 is 3 x 107: at this length one matrix product beats an FFT.
    """
    n = np.arange(_NUM_FFT)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / _NUM_FFT)
    angle = 2 * np.pi * np.outer(n, np.arange(_NUM_FFT // 2 + 1)) / _NUM_FFT
    dft = np.concatenate([np.cos(angle), -np.sin(angle)], axis=1)
    return (window[:, None] * dft).astype(np.float32)


def p808_mel(samples: Waveform) -> npt.NDArray[np.float32]:
    """Scaled log-mel of 16-kHz samples, shape `[num_hops, 120]`, in [-1, 1].

    0 dB, the loudest bin of the input, becomes 1; what is 80 dB below it becomes -1.
    """
    padded = np.pad(samples, _NUM_FFT // 2)
    hops = np.lib.stride_tricks.sliding_window_view(padded, _NUM_FFT)[::HOP_SAMPLES]
    spectrum = np.ascontiguousarray(hops) @ _windowed_dft()
    real, imaginary = np.split(spectrum, 2, axis=1)
    power = (real**2 + imaginary**2) @ _mel_filters()
    level_db = 10 * np.log10(np.maximum(power, _MIN_POWER))
    level_db -= level_db.max()
    return ((np.maximum(level_db, -_TOP_DB) + 40) / 40).astype(np.float32)
