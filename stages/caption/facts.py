"""Measurements to facts: each attribute of a segment gets a level, or none where nothing is known.

The limits were set on read and spontaneous speech of about 40 voices in English and Mandarin; what
the scale calls medium is where most of them lie.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

MIN_SPEECH_RATIO = 0.1
"""With less speech than this the voice facts would speak of the background."""
_FULL_BAND_HZ = 4500.0
_MIN_SNR_DB = 5.0
"""Below either, brightness tells of the line or the noise and not of the voice."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Levels of one attribute from low to high, with the limits between them."""

    view: str
    measure: str
    limits: tuple[float, ...]
    levels: tuple[str, ...]

    def level_of(self, value: float) -> str:
        """The level of a value; a value on a limit belongs to the level above."""
        return self.levels[bisect_right(self.limits, value)]


SCALES: Mapping[str, Scale] = {
    "pitch": Scale(
        "voice", "pitch_hz", (95, 140, 190, 270), ("very_low", "low", "medium", "high", "very_high")
    ),
    "brightness": Scale("voice", "spectral_tilt_db", (-13, -4), ("dark", "balanced", "bright")),
    "pace": Scale("style", "syllables_per_s", (2.8, 4.7), ("slow", "moderate", "fast")),
    "intonation": Scale("style", "pitch_range_st", (3.5, 9), ("flat", "natural", "lively")),
    "loudness": Scale("style", "loudness_range_db", (8, 16), ("even", "ordinary", "varied")),
    "pauses": Scale("style", "speech_ratio", (0.7, 0.97), ("many", "some", "few")),
    "noise": Scale("scene", "snr_db", (8, 18, 32), ("loud", "some", "little", "none")),
    "room": Scale("scene", "rt60_s", (0.3, 0.6, 1.0), ("dry", "ordinary", "live", "hall")),
    "band": Scale("scene", "bandwidth_hz", (4500, 7000), ("telephone", "narrow", "wide")),
}
"""Attribute to scale, in the order in which a caption speaks of them."""

VIEWS = ("voice", "style", "scene")
Facts = Mapping[str, str]
"""Attribute to level; an attribute about which nothing is known is absent."""


def facts_of(measures: Mapping[str, float | None]) -> Facts:
    """Levels of what was measured: `measures` has the columns and voice measures by name."""
    facts = {}
    for attribute, scale in SCALES.items():
        value = measures[scale.measure]
        if value is not None and _is_meaningful(attribute, measures):
            facts[attribute] = scale.level_of(value)
    return facts


def _is_meaningful(attribute: str, measures: Mapping[str, float | None]) -> bool:
    speech_ratio, snr_db = measures["speech_ratio"], measures["snr_db"]
    bandwidth_hz = measures["bandwidth_hz"]
    if SCALES[attribute].view != "scene":
        if speech_ratio is not None and speech_ratio < MIN_SPEECH_RATIO:
            return False
        if measures["pitch_hz"] is None:
            return False
    if attribute == "brightness":
        is_narrow = bandwidth_hz is not None and bandwidth_hz < _FULL_BAND_HZ
        return not is_narrow and (snr_db is None or snr_db >= _MIN_SNR_DB)
    return True


def contradicts(fact: str, attribute: str, stated: str) -> bool:
    """Whether a stated level is too far from the measured one to be a matter of taste.

    Neighbouring levels may be called either way; a step over a level may not.
    """
    levels = SCALES[attribute].levels
    return abs(levels.index(fact) - levels.index(stated)) >= 2
