"""How far up a segment's spectrum reaches, whatever its sample rate claims."""

import numpy as np

from schemas.codes import Waveform
from stages.band_power import band_power

_WINDOW_MS = 32
_HOP_MS = 16
_BAND_HZ = 250
_LOUD_QUANTILE = 0.97  # fricatives fill the top of the band, and only for a few hops
_QUIET_QUANTILE = 0.10
_MAX_BELOW_PEAK_DB = 50.0
"""NVIDIA NeMo's speech data processor looks 50 dB below the peak as well (`EstimateBandwidth`)."""
_MIN_ABOVE_FLOOR_DB = 8.0
"""Steady noise of this band width swings by 5 dB between those quantiles; speech by 20 and more."""
_MIN_HOPS = 10


def bandwidth_hz(
    samples: Waveform, rate_hz: int, source_rate_hz: int | None = None
) -> float | None:
    """Upper edge of the highest band with speech energy, in steps of 250 Hz; None in silence.

    A band counts when its loud moments come within 50 dB of the strongest band's and stand 8 dB
    above its own quiet ones, so that steady hiss adds nothing; two neighbours must. Resampling
    from 8 kHz leaves faint mirror images above 4 kHz (a windowed sinc is no brick wall), so the
    result ends at half of `source_rate_hz` where that is known; without it, expect up to 20 % more.
    """
    edges_hz = np.arange(_BAND_HZ, rate_hz / 2 + 1, _BAND_HZ)
    power = band_power(
        samples, rate_hz, window_ms=_WINDOW_MS, hop_ms=_HOP_MS, edges_hz=list(edges_hz)
    )
    if len(power) < _MIN_HOPS:
        return None
    loud, quiet = np.quantile(power, [_LOUD_QUANTILE, _QUIET_QUANTILE], axis=0)
    if loud.max() < 1e-12:
        return None
    loud_db, quiet_db = 10 * np.log10(loud + 1e-15), 10 * np.log10(quiet + 1e-15)
    spoken = (loud_db >= loud_db.max() - _MAX_BELOW_PEAK_DB) & (
        loud_db - quiet_db >= _MIN_ABOVE_FLOOR_DB
    )
    pairs = np.flatnonzero(spoken[:-1] & spoken[1:])
    if len(pairs) == 0:
        return None
    top_hz = float(edges_hz[pairs[-1] + 2])
    return min(top_hz, source_rate_hz / 2) if source_rate_hz else top_hz
