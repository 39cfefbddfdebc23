"""Flat tops, found at whatever level they have ended up."""

import numpy as np
import numpy.typing as npt

from schemas.codes import Waveform

_NUM_BINS = 200
_LOWEST_RAIL_BIN = 120  # a rail below 60 % of the peak would be no rail
_MIN_CROWDING = 1.5
"""Samples per bin at the rail over those just below it. Loud speech thins out towards its peak
(at most 1.3 over 60 unclipped recordings); clipped at 0.1 % of the samples it is 1.2 to 3, at 1 %
and more 2 to 10."""
_MIN_RAIL_SAMPLES = 5
_MIN_SAMPLES = 1000


def clipping_ratio(samples: Waveform) -> float:
    """Share of samples at the rails, 0 to 1; 0 if there are none.

    Loudness normalization moves the rails away from full scale, and resampling turns each flat top
    into a ripple around its level. What stays is a crowd of samples at the same high magnitude with
    next to nothing above. Within 20 % of the truth from 1 % upwards, also after resampling; less
    than 0.1 % may go unseen. A pure tone looks clipped, because it is as crowded at its peak.
    """
    if len(samples) < _MIN_SAMPLES:
        return 0.0
    num_clipped = sum(_num_at_rail(half[half > 0]) for half in (samples, -samples))
    return num_clipped / len(samples)


def _num_at_rail(magnitudes: npt.NDArray[np.float32]) -> int:
    """Samples of one polarity at or above its rail; 0 if it has none."""
    if len(magnitudes) == 0 or magnitudes.max() < 1e-4:
        return 0
    counts, _ = np.histogram(magnitudes / magnitudes.max(), _NUM_BINS, range=(0.0, 1.0))
    below = np.concatenate([[0], np.cumsum(counts)])  # samples under the lower edge of each bin
    most_crowding, num_at_rail = _MIN_CROWDING, 0
    for rail in range(_LOWEST_RAIL_BIN, _NUM_BINS):
        width = round(0.03 * rail)  # ripples reach a few per cent to both sides
        low, high = rail - width, min(rail + width, _NUM_BINS)
        num_around = below[high] - below[low]
        num_above = below[-1] - below[high]
        if num_around < _MIN_RAIL_SAMPLES or num_above > 0.3 * num_around:
            continue
        per_bin_under = (below[low - width] - below[low - 5 * width]) / (4 * width)
        crowding = num_around / (high - low) / max(per_bin_under, 0.5)
        if crowding > most_crowding:
            most_crowding, num_at_rail = crowding, int(below[-1] - below[low])
    return num_at_rail
