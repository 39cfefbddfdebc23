"""Short-time power spectra of a waveform, the common ground of pitch, syllables and tilt."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from schemas.codes import Waveform

RATE_HZ = 16_000
HOP_S = 0.01
WINDOW_S = 0.05
"""Three periods at 60 Hz, the lowest pitch that is looked for."""
FFT_SAMPLES = 2048
_HOPS_PER_BLOCK = 400

HOP_SAMPLES = round(HOP_S * RATE_HZ)
WINDOW_SAMPLES = round(WINDOW_S * RATE_HZ)
WINDOW = np.hanning(WINDOW_SAMPLES + 2)[1:-1].astype(np.float32)
BIN_HZ = RATE_HZ / FFT_SAMPLES

Array = npt.NDArray[np.float32]


def power_spectra(samples: Waveform) -> Iterator[Array]:
    """Blocks of `[num_hops, FFT_SAMPLES // 2 + 1]`, hops in order; none for under one window.

    `samples` are at `RATE_HZ`. Each window is Hann-weighted and has its mean taken out.
    """
    if len(samples) < WINDOW_SAMPLES:
        return
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW_SAMPLES)[::HOP_SAMPLES]
    for start in range(0, len(windows), _HOPS_PER_BLOCK):
        block = windows[start : start + _HOPS_PER_BLOCK]
        block = (block - block.mean(axis=1, keepdims=True)) * WINDOW
        spectrum = np.fft.rfft(block, FFT_SAMPLES, axis=1)
        yield (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
