"""Integrated loudness and true peak of mono audio after ITU-R BS.1770-5, in bounded memory.

pyloudnorm gives the K-weighting filters; its own meter copies and filters the whole signal at once
(a gigabyte for an hour), so the filters run here over blocks that carry their state.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from schemas.codes import Waveform

STEP_S = 0.1
"""Gating blocks of 0.4 s that overlap by three quarters: they start every 0.1 s."""
BLOCK_S = 0.4
_STEPS_PER_BLOCK = 4
ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0
_OFFSET_DB = -0.691  # BS.1770: makes a 997-Hz sine at full scale in one channel read -3.01 LUFS
_FILTER_SAMPLES = 1 << 20
OVERSAMPLING = 4
_TAPS_PER_PHASE = 12  # with 4 phases the 48 taps of BS.1770, annex 2
_PEAK_SAMPLES = 1 << 14

Floats = npt.NDArray[np.float64]


def integrated_loudness_lufs(samples: Waveform, sample_rate_hz: int) -> float | None:
    """Gated loudness; None for less than 0.4 s and for what never rises above -70 LUFS."""
    step = round(STEP_S * sample_rate_hz)
    num_steps = samples.shape[0] // step
    if num_steps < _STEPS_PER_BLOCK:
        return None
    energy = _weighted_step_energies(samples[: num_steps * step], sample_rate_hz, step)
    running = np.concatenate([[0.0], np.cumsum(energy)])
    power = (running[_STEPS_PER_BLOCK:] - running[:-_STEPS_PER_BLOCK]) / (_STEPS_PER_BLOCK * step)
    power = np.maximum(power, 0.0)  # cumulative sums may leave -1e-20 in silence
    loud = power[power > _power(ABSOLUTE_GATE_LUFS)]
    if loud.size == 0:
        return None
    loud = loud[loud > loud.mean() * 10 ** (RELATIVE_GATE_LU / 10)]
    return float(_OFFSET_DB + 10 * np.log10(loud.mean()))


def true_peak_dbtp(samples: Waveform) -> float | None:
    """Peak of the signal at four times its rate; None for digital silence.

    Blocks whose sample peak, times the most that the interpolator can add, stays below a peak that
    was found already are not oversampled: that changes nothing but the time it takes.
    """
    if samples.shape[0] == 0:
        return None
    phases = _interpolator()
    most_gain = float(np.abs(phases).sum(axis=1).max())
    starts = range(0, samples.shape[0], _PEAK_SAMPLES)
    block_peaks = np.array([float(np.abs(samples[i : i + _PEAK_SAMPLES]).max()) for i in starts])
    peak = float(block_peaks.max())
    if peak == 0.0:
        return None
    around = _TAPS_PER_PHASE
    for index in np.argsort(-block_peaks, kind="stable"):
        start = int(index) * _PEAK_SAMPLES
        block = samples[max(0, start - around) : start + _PEAK_SAMPLES + around].astype(np.float64)
        if float(np.abs(block).max()) * most_gain <= peak:
            continue
        # Only at the ends of the signal does it begin or stop; a cut elsewhere would ring.
        before = around - min(start, around)
        after = max(0, start + _PEAK_SAMPLES + around - samples.shape[0])
        block = np.pad(block, (before, min(after, around)))
        for taps in phases:
            peak = max(peak, float(np.abs(np.convolve(block, taps, "valid")).max()))
    return float(20 * np.log10(peak))


def _power(lufs: float) -> float:
    return float(10 ** ((lufs - _OFFSET_DB) / 10))


def _weighted_step_energies(samples: Waveform, sample_rate_hz: int, step: int) -> Floats:
    """Sum of squares of every 0.1 s after K-weighting, shape `[num_steps]`."""
    from scipy.signal import sosfilt

    sos = _k_weighting(sample_rate_hz)
    state = np.zeros((sos.shape[0], 2))
    block = max(1, _FILTER_SAMPLES // step) * step
    energies = []
    for start in range(0, samples.shape[0], block):
        weighted, state = sosfilt(sos, samples[start : start + block].astype(np.float64), zi=state)
        steps = weighted.reshape(-1, step)
        energies.append(np.einsum("ij,ij->i", steps, steps))
    return np.concatenate(energies)


@lru_cache(maxsize=4)
def _k_weighting(sample_rate_hz: int) -> Floats:
    """Second-order sections `[2, 6]` of the high shelf and the high pass of BS.1770.

    De Man's parameters give the coefficients that the standard prints for 48 kHz, at any rate;
    pyloudnorm's default ones are 0.04 dB off.
    """
    from pyloudnorm import Meter

    filters = Meter(sample_rate_hz, filter_class="DeMan")._filters.values()
    return np.array([[*f.b / f.a[0], *f.a / f.a[0]] for f in filters])


@lru_cache(maxsize=1)
def _interpolator() -> Floats:
    """Windowed-sinc interpolator in four phases, shape `[4, 12]`; each phase passes DC unchanged.

    Phase 0 is the signal itself; Kaiser window with beta 5, a ripple below 0.1 dB up to 0.45 of the
    sample rate.
    """
    from scipy.signal import firwin

    taps = firwin(OVERSAMPLING * _TAPS_PER_PHASE + 1, 1 / OVERSAMPLING, window=("kaiser", 5.0))
    phases = taps[:-1].reshape(_TAPS_PER_PHASE, OVERSAMPLING).T
    return np.ascontiguousarray(phases / phases.sum(axis=1, keepdims=True))
