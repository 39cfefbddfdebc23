"""Reverberation time, from how fast the sound of a segment can fade.

Follows the idea of the spectral decay distribution (J. Wen, E. Habets, P. Naylor, "Blind estimation
of reverberation time based on the distribution of signal decay rates", ICASSP 2008): speech stops
abruptly again and again, but in a room nothing fades faster than the room lets it. So the fastest
fades tell the room.
"""

import numpy as np

from schemas.codes import Waveform
from stages.band_power import band_power

_WINDOW_MS = 20
_HOP_MS = 5
_EDGES_HZ = (300.0, 600.0, 1200.0, 2400.0, 4800.0)
_SLOPE_HOPS = 24
_FAST_QUANTILE = 0.05
_MIN_ABOVE_FLOOR_DB = 6.0
_MAX_BELOW_TOP_DB = 35.0
_MIN_SLOPES = 100

# Time for 60 dB at the rate of the fast fades, against the true reverberation time: medians over 24
# utterances convolved with exponentially decaying noise that carries as much energy as the direct
# sound.
_APPARENT_S = (0.20, 0.25, 0.33, 0.45, 0.59, 0.70, 0.81)
_RT60_S = (0.08, 0.15, 0.3, 0.5, 0.8, 1.2, 2.0)


def rt60_s(samples: Waveform, rate_hz: int) -> float | None:
    """Seconds for 60 dB of decay, 0.08 to 2; None for less than about a second of speech.

    For rooms where direct and reverberant sound are equally strong: within 20 % up to 1 s. A close
    microphone (6 dB more direct sound) makes 0.5 s read 0.37 and 1.2 s read 0.6. Steady noise fills
    the fades: at 20 dB SNR a dry recording reads 0.2 s, at 10 dB 0.4 s.
    """
    power = band_power(samples, rate_hz, window_ms=_WINDOW_MS, hop_ms=_HOP_MS, edges_hz=_EDGES_HZ)
    if len(power) < 2 * _SLOPE_HOPS or power.max() < 1e-12:
        return None
    levels_db = 10 * np.log10(power + 1e-10)
    offsets_s = (np.arange(_SLOPE_HOPS) - (_SLOPE_HOPS - 1) / 2) * _HOP_MS / 1000
    regression = offsets_s / (offsets_s**2).sum()
    slopes = []
    for level_db in levels_db.T:
        smooth = np.convolve(level_db, np.full(3, 1 / 3), "valid")
        floor, top = np.quantile(smooth, [0.03, 0.98])
        windows = np.lib.stride_tricks.sliding_window_view(smooth, _SLOPE_HOPS)
        audible = (windows[:, -4:].mean(axis=1) > floor + _MIN_ABOVE_FLOOR_DB) & (
            windows[:, :4].mean(axis=1) > top - _MAX_BELOW_TOP_DB
        )
        slopes.append(windows[audible] @ regression)
    pooled = np.concatenate(slopes)
    if len(pooled) < _MIN_SLOPES:
        return None
    fast_db_per_s = -float(np.quantile(pooled, _FAST_QUANTILE))
    if fast_db_per_s <= 0:
        return None
    return float(np.interp(60 / fast_db_per_s, _APPARENT_S, _RT60_S))
