"""Fundamental frequency by autocorrelation, one value a hop.

The autocorrelation of each window is divided by that of the window itself (Boersma 1993, "Accurate
short-term analysis of the fundamental frequency"), the strongest peak wins, and a small cost per
octave keeps it from falling an octave down. There is no path search: medians and percentiles over a
segment do not need one.
"""

import numpy as np
import numpy.typing as npt

from stages.caption.spectra import FFT_SAMPLES, RATE_HZ, WINDOW, Array

MIN_PITCH_HZ = 60.0
MAX_PITCH_HZ = 500.0
"""From a very low adult voice to a child's."""
VOICED_STRENGTH = 0.5
"""Normalised autocorrelation above which a peak is voiced: 0.5 is harmonics as strong as noise."""
_OCTAVE_COST = 0.04
_MIN_RUN_HOPS = 5
"""A voiced stretch under 50 ms is no vowel."""

_MIN_LAG = int(RATE_HZ / MAX_PITCH_HZ)
_MAX_LAG = int(np.ceil(RATE_HZ / MIN_PITCH_HZ))
_WINDOW_CORRELATION = np.fft.irfft(np.abs(np.fft.rfft(WINDOW, FFT_SAMPLES)) ** 2)[: _MAX_LAG + 2]
_WINDOW_CORRELATION = (_WINDOW_CORRELATION / _WINDOW_CORRELATION[0]).astype(np.float32)


def pitch_of(power: Array) -> tuple[Array, Array]:
    """Candidate pitch in Hz and its strength (-1 to about 1) per row of power spectra."""
    correlation = np.fft.irfft(power, FFT_SAMPLES, axis=1)[:, : _MAX_LAG + 2]
    energy = np.maximum(correlation[:, :1], np.finfo(np.float32).tiny)
    correlation = (correlation / energy / _WINDOW_CORRELATION).astype(np.float32)
    left, middle, right = (
        correlation[:, _MIN_LAG - 1 + shift : _MAX_LAG + shift] for shift in (0, 1, 2)
    )
    lags = np.arange(_MIN_LAG, _MAX_LAG + 1)
    is_peak = (middle >= left) & (middle > right)
    cost = _OCTAVE_COST * np.log2(lags / _MIN_LAG)
    best = np.where(is_peak, middle - cost, -np.inf).argmax(axis=1)
    rows = np.arange(len(power))
    before, at, after = left[rows, best], middle[rows, best], right[rows, best]
    curve = before - 2 * at + after
    shift = np.where(np.abs(curve) > 1e-9, 0.5 * (before - after) / np.minimum(curve, -1e-9), 0.0)
    pitch_hz = RATE_HZ / (lags[best] + np.clip(shift, -0.5, 0.5))
    strength = np.where(is_peak[rows, best], at, -1.0)
    return pitch_hz.astype(np.float32), strength.astype(np.float32)


def voiced_pitch(pitch_hz: Array, is_voiced: npt.NDArray[np.bool_]) -> Array:
    """Pitch of the hops that can be trusted: in runs, and within an octave of the median."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], is_voiced.astype(np.int8), [0]))))
    trusted = np.zeros(len(is_voiced), bool)
    for start, end in edges.reshape(-1, 2):
        trusted[start:end] = end - start >= _MIN_RUN_HOPS
    values = pitch_hz[trusted]
    if not len(values):
        return values
    ratio = values / np.median(values)
    return values[(ratio > 0.5) & (ratio < 2.0)]
