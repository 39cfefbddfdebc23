"""Signal-to-noise ratio of a segment, without a clean reference.

The noise of a band is the larger of two estimates. One is its floor: a low percentile of the power
smoothed over 50 ms, corrected for how far that percentile lies below the mean of steady noise (the
idea of minimum statistics: R. Martin, "Noise power spectral density estimation based on optimal
smoothing and minimum statistics", IEEE Trans. Speech Audio Process. 9(5), 2001). The floor is good
for steady noise and blind to noise that comes and goes. The other is the mean power where the voice
activity detector hears nobody, well away from speech.

Only 40 Hz to 11 kHz is looked at: rumble below that is no noise to the ear, but may hold most of
the power of one.

Measured on 22 real utterances with noise added at 0 to 20 dB, mean absolute error: white 0.7 to
1.5 dB, pink 1.7 to 2.3 dB (above 20 dB the noise in the recordings themselves counts). Noise in
bursts that fall on the words is not seen: 4 to 17 dB too clean. Babble, with which the detector
loses the speaker: 2 to 7 dB off.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from schemas.codes import Waveform
from schemas.spans import Span
from stages.band_power import Floats, band_power, hop_centres

MIN_SNR_DB = -5.0
MAX_SNR_DB = 60.0
"""Estimates are clipped to this range; below it the speech can no longer be told from the noise."""

_WINDOW_MS = 32
_HOP_MS = 10
_NUM_BANDS = 32
_TOP_HZ = 11_000.0
_FLOOR_QUANTILE = 0.05
_SMOOTH_HOPS = 5
_GUARD_HOPS = 8  # breaths and fading vowels lie within 80 ms of what the detector calls speech
_MIN_PAUSE_HOPS = 20
_MAX_PAUSE_SHARE = 0.4
"""With less speech than 60 % in a segment that was cut for speech, the detector has lost it."""
_SILENCE_POWER = 1e-14


def snr_db(samples: Waveform, rate_hz: int, speech: Sequence[Span]) -> float | None:
    """Speech over noise in dB, both over the whole segment; None if it is too short or silent.

    `speech` are spans in samples of this segment.
    """
    edges_hz = _mel_edges_hz(rate_hz)
    power = band_power(samples, rate_hz, window_ms=_WINDOW_MS, hop_ms=_HOP_MS, edges_hz=edges_hz)
    if len(power) < 2 * _MIN_PAUSE_HOPS:
        return None
    total = power.mean(axis=0).sum()
    if total < _SILENCE_POWER:
        return None
    noise_by_band = _floor(power) / _floor_bias(rate_hz)
    pauses = _pauses(len(power), rate_hz, speech)
    if pauses is not None:
        noise_by_band = np.maximum(noise_by_band, power[pauses].mean(axis=0))
    noise = max(min(noise_by_band.sum(), total), total * 1e-9)
    clean = max(total - noise, total * 1e-9)
    return float(np.clip(10 * np.log10(clean / noise), MIN_SNR_DB, MAX_SNR_DB))


def _mel_edges_hz(rate_hz: int) -> list[float]:
    top_mel = np.log1p(min(_TOP_HZ, rate_hz * 0.46) / 700)
    return list(700 * np.expm1(np.linspace(np.log1p(40 / 700), top_mel, _NUM_BANDS + 1)))


def _floor(power: Floats) -> Floats:
    sums = np.cumsum(np.pad(power, ((1, 0), (0, 0))), axis=0)
    smooth = np.maximum(sums[_SMOOTH_HOPS:] - sums[:-_SMOOTH_HOPS], 0.0) / _SMOOTH_HOPS
    floor: Floats = np.quantile(smooth, _FLOOR_QUANTILE, axis=0)
    return floor


@lru_cache(maxsize=4)
def _floor_bias(rate_hz: int) -> Floats:
    """Floor over mean of each band in steady noise; below 1, and further for narrow bands."""
    noise = np.random.default_rng(0).standard_normal(30 * rate_hz).astype(np.float32)
    edges_hz = _mel_edges_hz(rate_hz)
    power = band_power(noise, rate_hz, window_ms=_WINDOW_MS, hop_ms=_HOP_MS, edges_hz=edges_hz)
    bias: Floats = _floor(power) / power.mean(axis=0)
    return bias


def _pauses(num_hops: int, rate_hz: int, speech: Sequence[Span]) -> npt.NDArray[np.bool_] | None:
    """Which hops lie well away from speech; None if they are too few, or too many to believe."""
    centres = hop_centres(num_hops, rate_hz, window_ms=_WINDOW_MS, hop_ms=_HOP_MS)
    guard = _GUARD_HOPS * _HOP_MS * rate_hz / 1000
    spoken = np.zeros(num_hops, dtype=bool)
    near = np.zeros(num_hops, dtype=bool)
    for span in speech:
        spoken |= (centres >= span.start_sample) & (centres < span.end_sample)
        near |= (centres >= span.start_sample - guard) & (centres < span.end_sample + guard)
    if 1 - spoken.mean() > _MAX_PAUSE_SHARE or np.count_nonzero(~near) < _MIN_PAUSE_HOPS:
        return None
    return ~near
