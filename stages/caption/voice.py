"""What the waveform says about a voice: pitch, syllables, spectral tilt, loudness."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from schemas.codes import Waveform
from stages.caption.pitch import VOICED_STRENGTH, pitch_of, voiced_pitch
from stages.caption.spectra import (
    BIN_HZ,
    FFT_SAMPLES,
    HOP_S,
    WINDOW,
    Array,
    power_spectra,
)

_SILENT_DB = -65.0
"""Below this level (dB of full scale) there is nothing to measure."""
_ACTIVE_BELOW_PEAK_DB = 25.0
"""Hops this close to the loud ones carry speech; consonants and room lie below."""
_SONORANT_HZ = (250.0, 3000.0)
"""Band of the first formants, where vowels stand out from consonants."""
_DIP_DB = 2.0
"""Two syllables have a dip of 2 dB between them (de Jong and Wempe 2009)."""
_TILT_LOW_HZ = 60.0
_TILT_SPLIT_HZ = 1000.0
_MIN_VOICED_HOPS = 10
_MIN_SYLLABLES = 5
_MIN_SPOKEN_S = 0.3


Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class VoiceMeasures:
    """Null where there was too little to measure: silence, whispering, a few milliseconds."""

    pitch_hz: float | None = None
    """Median over voiced hops."""
    pitch_range_st: float | None = None
    """10th to 90th percentile of pitch, in semitones."""
    syllables_per_s: float | None = None
    """Syllable nuclei per second of speech."""
    spectral_tilt_db: float | None = None
    """Energy above 1 kHz over energy below, in active hops."""
    loudness_range_db: float | None = None
    """10th to 90th percentile of the level of syllable nuclei."""


def measure_voice(samples: Waveform, speech_s: float | None) -> VoiceMeasures:
    """Measures of a waveform at `spectra.RATE_HZ`; `speech_s` is how long somebody speaks in it.

    Where nobody measured `speech_s`, the seconds of active hops stand in for it.
    """
    tracks = [_tracks(power) for power in power_spectra(samples)]
    if not tracks:
        return VoiceMeasures()
    pitch_hz, strength, level_db, sonority_db, low, high = (
        np.concatenate(track) for track in zip(*tracks, strict=True)
    )
    loud_db = float(np.percentile(level_db, 95))
    if loud_db < _SILENT_DB:
        return VoiceMeasures()
    is_active = level_db > loud_db - _ACTIVE_BELOW_PEAK_DB
    is_voiced = is_active & (strength > VOICED_STRENGTH)
    pitch = voiced_pitch(pitch_hz, is_voiced)
    nuclei = find_nuclei(sonority_db, is_voiced)
    spoken_s = float(is_active.sum()) * HOP_S if speech_s is None else speech_s
    tilt = 10 * np.log10(high[is_active].sum() / max(low[is_active].sum(), 1e-20) + 1e-9)
    has_pitch = len(pitch) >= _MIN_VOICED_HOPS
    p10, p90 = np.percentile(pitch, (10, 90)) if has_pitch else (1.0, 1.0)
    return VoiceMeasures(
        pitch_hz=float(np.median(pitch)) if has_pitch else None,
        pitch_range_st=float(12 * np.log2(p90 / p10)) if has_pitch else None,
        syllables_per_s=len(nuclei) / spoken_s if has_pitch and spoken_s >= _MIN_SPOKEN_S else None,
        spectral_tilt_db=float(tilt),
        loudness_range_db=float(np.ptp(np.percentile(sonority_db[nuclei], (10, 90))))
        if len(nuclei) >= _MIN_SYLLABLES
        else None,
    )


def find_nuclei(level_db: Array, is_voiced: Flags) -> list[int]:
    """Hops of level peaks that are voiced and have a dip of `_DIP_DB` on either side."""
    nuclei: list[int] = []
    peak, valley = 0, float(level_db[0])
    rising = True
    for hop, level in enumerate(level_db.tolist()):
        if rising:
            if level > level_db[peak]:
                peak = hop
            if level < level_db[peak] - _DIP_DB:
                if level_db[peak] > valley + _DIP_DB and is_voiced[peak]:
                    nuclei.append(peak)
                rising, valley = False, level
        else:
            valley = min(valley, level)
            if level > valley + _DIP_DB:
                rising, peak = True, hop
    return nuclei


def _tracks(power: Array) -> tuple[Array, ...]:
    """Per hop: pitch, its strength, level, sonority (dB), energy below and above the split."""
    pitch_hz, strength = pitch_of(power)
    # Parseval, over the energy of the window: mean square of the samples, 0 dB at full scale.
    to_power = 2.0 / (FFT_SAMPLES * float((WINDOW**2).sum()))
    level_db = 10 * np.log10(power.sum(axis=1) * to_power + 1e-12)
    band = power[:, _bin(_SONORANT_HZ[0]) : _bin(_SONORANT_HZ[1])]
    sonority_db = 10 * np.log10(band.sum(axis=1) * to_power + 1e-12)
    split = _bin(_TILT_SPLIT_HZ)
    low = power[:, _bin(_TILT_LOW_HZ) : split].sum(axis=1)
    return pitch_hz, strength, level_db, sonority_db, low, power[:, split:].sum(axis=1)


def _bin(frequency_hz: float) -> int:
    return round(frequency_hz / BIN_HZ)
