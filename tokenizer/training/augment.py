"""One waveform made into another: speed, room, noise, music, equaliser, band limit and gain.

The codec has to carry what it hears, so the changed waveform is both its input and its target. A
change of speed by resampling moves pitch and formants along: to the model it is another speaker.
"""

# Shapes: S samples, T samples after the change of speed, R samples of an impulse response, K bins.

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import oaconvolve, resample_poly

from schemas.codes import Waveform
from schemas.errors import TokenizerError

Curve = npt.NDArray[np.float32]
"""Amplitude gains over the bins of a spectrum, shape `[K]`."""

_LARGEST_TERM = 20  # of a speed's fraction: keeps the resampler's filter short
_NOISE_SLOPES = (0.0, 0.5, 1.0)  # amplitude falls with this power of frequency: white, pink, brown
_LOWEST_NOISE_HZ = 20.0
_DECAY = 6.91  # nepers of amplitude in 60 dB: ln(1000)
_LARGEST_PEAK = 0.99
_MIDDLE_HZ = 1_000.0  # the tilt turns here
_MOST_OCTAVES = 4.0  # and ends here, so that no bin is lifted without bound
_EDGE_S = 0.05  # room for the equaliser to ring into, instead of around to the other end


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentSpec:
    """How often each change is made, in [0, 1], and within which range it is drawn, evenly.

    The defaults aim at ordinary recordings: rooms up to a classroom, noise from faint to plain.
    """

    speed_chance: float = 0.7
    speed: tuple[float, float] = (0.85, 1.18)
    """Times as fast; drawn from the fractions in this range with terms of at most 20."""
    room_chance: float = 0.35
    rt60_s: tuple[float, float] = (0.1, 0.7)
    """Time in which the room's sound falls by 60 dB."""
    direct_to_room_db: tuple[float, float] = (-2.0, 15.0)
    """Energy of the direct sound over that of the room."""
    noise_chance: float = 0.3
    """White, pink or brown noise."""
    background_chance: float = 0.25
    """One of the given backgrounds; never where there are none."""
    snr_db: tuple[float, float] = (5.0, 30.0)
    """Power of the speech over that of the noise or background, over the whole waveform."""
    equalizer_chance: float = 0.4
    tilt_db: tuple[float, float] = (-2.0, 2.0)
    """Per octave, around 1 kHz and up to four octaves from it."""
    bump_db: tuple[float, float] = (-6.0, 6.0)
    """Of one or two bell curves, an octave or so wide, between 100 Hz and 8 kHz."""
    low_pass_chance: float = 0.15
    low_pass_hz: tuple[float, float] = (3_400.0, 11_000.0)
    gain_chance: float = 1.0
    gain_db: tuple[float, float] = (-12.0, 3.0)
    """Less is taken where more would clip."""

    def __post_init__(self) -> None:
        """Raises `TokenizerError` for a chance outside [0, 1] or a range that runs backwards or
        leaves what this code can do."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_chance"):
                _check_chance(field.name, value)
            else:
                _check_range(field.name, value, *_BOUNDS[field.name])
        if not _fractions(self.speed):
            raise TokenizerError(
                f"augment: no fraction with terms up to {_LARGEST_TERM} lies in speed "
                f"{self.speed}; widen it"
            )


_BOUNDS = {
    "speed": (0.5, 2.0),
    "rt60_s": (0.02, 3.0),
    "direct_to_room_db": (-30.0, 60.0),
    "snr_db": (-20.0, 100.0),
    "tilt_db": (-6.0, 6.0),
    "bump_db": (-24.0, 24.0),
    "low_pass_hz": (100.0, 96_000.0),
    "gain_db": (-60.0, 24.0),
}


class Augment:
    """The changes of one spec at one sample rate. Holds no state: the generator decides all."""

    def __init__(
        self, spec: AugmentSpec, sample_rate_hz: int, backgrounds: Sequence[Waveform]
    ) -> None:
        """`backgrounds` are noise and music, float32 of shape `[any]`, at `sample_rate_hz`.

        Raises `TokenizerError` where one is empty, silent or not finite, or where the low-pass lies
        above half the sample rate.
        """
        if sample_rate_hz < 1_000:
            raise TokenizerError(
                f"augment: sample_rate_hz is {sample_rate_hz}, wanted 1000 or more"
            )
        if spec.low_pass_hz[1] > sample_rate_hz / 2:
            raise TokenizerError(
                f"augment: low_pass_hz reaches {spec.low_pass_hz[1]:g}, above half of the sample "
                f"rate {sample_rate_hz}; lower it"
            )
        for number, background_S in enumerate(backgrounds):
            _check_waveform(f"background {number}", background_S)
            if not np.any(background_S):
                raise TokenizerError(f"augment: background {number} is silent; leave it out")
        self.spec = spec
        self.sample_rate_hz = sample_rate_hz
        self.backgrounds = tuple(backgrounds)
        self._speeds = _fractions(spec.speed)

    def __call__(self, waveform_S: Waveform, random: np.random.Generator) -> Waveform:
        """Changed waveform `[T]`, `T = ceil(S / speed)`, float32, finite, peak at most 1.

        The same waveform and generator state give the same bits, and the input stays as it is.
        Raises `TokenizerError` for anything but one dimension of finite float32.
        """
        _check_waveform("waveform", waveform_S)
        spec = self.spec
        changed_T = waveform_S
        if random.random() < spec.speed_chance:
            speed = self._speeds[random.integers(len(self._speeds))]
            changed_T = resample_poly(changed_T, speed.denominator, speed.numerator)
        if random.random() < spec.room_chance:
            changed_T = self._in_room(changed_T, random)
        if self.backgrounds and random.random() < spec.background_chance:
            changed_T = self._mixed(changed_T, self._background(len(changed_T), random), random)
        if random.random() < spec.noise_chance:
            changed_T = self._mixed(changed_T, self._noise(len(changed_T), random), random)
        changed_T = self._coloured(changed_T, random)
        gain = 1.0
        if random.random() < spec.gain_chance:
            gain = _amplitude(random.uniform(*spec.gain_db))
        peak = float(np.max(np.abs(changed_T)))
        if gain * peak > _LARGEST_PEAK:
            gain = _LARGEST_PEAK / peak
        return (changed_T * np.float32(gain)).astype(np.float32, copy=False)

    def _in_room(self, dry_T: Waveform, random: np.random.Generator) -> Waveform:
        """The direct sound and an exponentially decaying noise after it: a room's late sound."""
        rt60_s = random.uniform(*self.spec.rt60_s)
        direct_db = random.uniform(*self.spec.direct_to_room_db)
        first = int(random.uniform(0.001, 0.010) * self.sample_rate_hz)  # the nearest wall
        response_R = random.standard_normal(
            max(first + 1, int(rt60_s * self.sample_rate_hz)), dtype=np.float32
        )
        since_s = np.arange(len(response_R), dtype=np.float32) / self.sample_rate_hz
        response_R *= np.exp(-_DECAY / rt60_s * since_s)
        response_R[:first] = 0.0
        response_R *= _amplitude(-direct_db) / np.sqrt(np.sum(response_R**2))
        response_R[0] = 1.0
        wet_T: Waveform = oaconvolve(dry_T, response_R)[: len(dry_T)]
        return wet_T

    def _background(self, num_samples: int, random: np.random.Generator) -> Waveform:
        """A stretch of one background, from anywhere in it, repeated where it is too short."""
        background_S = self.backgrounds[random.integers(len(self.backgrounds))]
        first = int(random.integers(len(background_S)))
        if len(background_S) >= num_samples:
            first = min(first, len(background_S) - num_samples)
            return background_S[first : first + num_samples]
        return np.take(background_S, np.arange(first, first + num_samples), mode="wrap")

    def _noise(self, num_samples: int, random: np.random.Generator) -> Waveform:
        """White, pink or brown noise."""
        slope = _NOISE_SLOPES[random.integers(len(_NOISE_SLOPES))]
        noise_T = random.standard_normal(num_samples, dtype=np.float32)
        if slope == 0.0:
            return noise_T
        power = np.float32(-slope)
        return self._filtered(noise_T, lambda hz_K: np.maximum(hz_K, _LOWEST_NOISE_HZ) ** power)

    def _mixed(
        self, speech_T: Waveform, noise_T: Waveform, random: np.random.Generator
    ) -> Waveform:
        snr_db = random.uniform(*self.spec.snr_db)
        noise_rms = _rms(noise_T)
        if noise_rms == 0.0:  # a silent stretch of a background
            return speech_T
        return speech_T + np.float32(_rms(speech_T) / noise_rms * _amplitude(-snr_db)) * noise_T

    def _coloured(self, waveform_T: Waveform, random: np.random.Generator) -> Waveform:
        """Equaliser and low-pass as one curve without phase, so one transform serves both."""
        spec = self.spec
        curves: list[Callable[[Curve], Curve]] = []
        if random.random() < spec.equalizer_chance:
            tilt_db = random.uniform(*spec.tilt_db)
            bumps = [
                (random.uniform(*spec.bump_db), 100.0 * 80.0 ** random.random())
                for _ in range(random.integers(1, 3))
            ]
            curves.append(lambda hz_K: _equalizer(hz_K, tilt_db, bumps))
        if random.random() < spec.low_pass_chance:
            cut_hz = random.uniform(*spec.low_pass_hz)
            order = int(random.integers(4, 17))
            curves.append(lambda hz_K: _low_pass(hz_K, cut_hz, order))
        if not curves:
            return waveform_T
        return self._filtered(
            waveform_T, lambda hz_K: np.prod([curve(hz_K) for curve in curves], axis=0)
        )

    def _filtered(self, waveform_T: Waveform, curve: Callable[[Curve], Curve]) -> Waveform:
        """The waveform with its spectrum multiplied by `curve(frequencies in Hz)`."""
        padding = int(_EDGE_S * self.sample_rate_hz)
        num_fft = next_fast_len(len(waveform_T) + padding, real=True)
        hz_K = np.arange(num_fft // 2 + 1, dtype=np.float32) * (self.sample_rate_hz / num_fft)
        spectrum_K = rfft(waveform_T, num_fft) * curve(hz_K.astype(np.float32))
        filtered_T: Waveform = irfft(spectrum_K, num_fft)[: len(waveform_T)]
        return filtered_T


def _equalizer(hz_K: Curve, tilt_db: float, bumps: Sequence[tuple[float, float]]) -> Curve:
    octaves_K = np.log2(np.maximum(hz_K, 1.0) / np.float32(_MIDDLE_HZ))
    gain_db_K = np.float32(tilt_db) * np.clip(octaves_K, -_MOST_OCTAVES, _MOST_OCTAVES)
    for bump_db, centre_hz in bumps:
        distance_K = octaves_K - np.float32(np.log2(centre_hz / _MIDDLE_HZ))
        gain_db_K += np.float32(bump_db) * np.exp(-2.0 * distance_K**2)
    curve: Curve = np.exp(gain_db_K * np.float32(np.log(10.0) / 20.0))
    return curve


def _low_pass(hz_K: Curve, cut_hz: float, order: int) -> Curve:
    """Magnitude of a Butterworth filter, 3 dB down at `cut_hz`."""
    ratio_K = np.minimum(hz_K / np.float32(cut_hz), 10.0)
    curve: Curve = 1.0 / np.sqrt(1.0 + ratio_K ** np.float32(2 * order))
    return curve


def _fractions(speed: tuple[float, float]) -> tuple[Fraction, ...]:
    terms = range(1, _LARGEST_TERM + 1)
    found = {Fraction(above, below) for above in terms for below in terms}
    return tuple(sorted(one for one in found if speed[0] <= float(one) <= speed[1]))


def _amplitude(db: float) -> float:
    return float(10.0 ** (db / 20.0))


def _rms(waveform_S: Waveform) -> float:
    return float(np.sqrt(np.mean(waveform_S.astype(np.float64) ** 2)))


def _check_waveform(name: str, waveform_S: Waveform) -> None:
    if waveform_S.ndim != 1 or waveform_S.dtype != np.float32 or len(waveform_S) == 0:
        raise TokenizerError(
            f"augment: {name} has shape {waveform_S.shape} and type {waveform_S.dtype}; wanted one "
            "dimension of float32 with at least one sample"
        )
    if not np.isfinite(waveform_S).all():
        raise TokenizerError(f"augment: {name} holds samples that are not finite; leave it out")


def _check_chance(name: str, value: float) -> None:
    if not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
        raise TokenizerError(f"augment: {name} is {value!r}, wanted a number from 0 to 1")


def _check_range(name: str, value: Sequence[float], lowest: float, highest: float) -> None:
    try:
        first, last = value
        is_right = lowest <= first <= last <= highest  # not so for NaN
    except (TypeError, ValueError):
        is_right = False
    if not is_right:
        raise TokenizerError(
            f"augment: {name} is {value}, wanted two numbers within [{lowest:g}, {highest:g}], the "
            "lower one first"
        )
