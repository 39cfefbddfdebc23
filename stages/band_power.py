"""Short-time power in frequency bands: what the signal measurements look at."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from schemas.codes import Waveform

Floats = npt.NDArray[np.float64]

_BLOCK_HOPS = 4096  # a spectrum takes a hundred times the memory of its bands


def band_power(
    samples: Waveform, rate_hz: int, *, window_ms: int, hop_ms: int, edges_hz: Sequence[float]
) -> Floats:
    """Power per hop and band, shape `[num_hops, num_bands]`; no hops if it is under one window.

    Band `i` holds the bins from `edges_hz[i]` up to, not including, `edges_hz[i + 1]`. Hann windows
    without padding at the ends.
    """
    window_samples, hop_samples = window_ms * rate_hz // 1000, hop_ms * rate_hz // 1000
    first_bins = np.ceil(np.asarray(edges_hz) * window_samples / rate_hz).astype(int)
    if np.any(np.diff(first_bins) < 1) or first_bins[-1] > window_samples // 2 + 1:
        raise ValueError(
            f"edges {list(edges_hz)} Hz do not each hold a bin of {rate_hz / window_samples:.1f} "
            f"Hz below {rate_hz / 2} Hz"
        )
    if len(samples) < window_samples:
        return np.zeros((0, len(edges_hz) - 1))
    window = np.hanning(window_samples + 1)[:-1]
    hops = np.lib.stride_tricks.sliding_window_view(samples, window_samples)[::hop_samples]
    blocks = []
    for start in range(0, len(hops), _BLOCK_HOPS):
        spectrum = np.fft.rfft(hops[start : start + _BLOCK_HOPS] * window, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        blocks.append(np.add.reduceat(power[:, : first_bins[-1]], first_bins[:-1], axis=1))
    power_by_band: Floats = np.concatenate(blocks)
    return power_by_band


def hop_centres(num_hops: int, rate_hz: int, *, window_ms: int, hop_ms: int) -> Floats:
    """Sample on which each hop of `band_power` is centred."""
    return (
        np.arange(num_hops, dtype=np.float64) * (hop_ms * rate_hz // 1000)
        + window_ms * rate_hz / 2000
    )
