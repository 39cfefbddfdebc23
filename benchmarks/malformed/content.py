"""F. Sound files whose samples are the trouble."""

from collections.abc import Callable

import numpy as np

from benchmarks.malformed import encoded
from benchmarks.malformed.formats import wav
from benchmarks.malformed.kind import Expected, Kind, clean, failed, from_bytes, salvaged
from benchmarks.malformed.voice import Samples, voice

_FAMILY = "content"
_RATE_HZ = 16_000
_NONFINITE = salvaged("NONFINITE", (3.99, 4.01))


def _pcm(
    name: str,
    how: str,
    samples: Callable[[], Samples],
    expected: Expected | None = None,
    *,
    voice: bool = False,
) -> Kind:
    def content() -> bytes:
        made = samples()
        return wav.simple(wav.pcm16(made), channels=np.atleast_2d(made).shape[0])

    return from_bytes(_FAMILY, name, "wav", how, content, expected or clean(), voice=voice)


def _floats(
    name: str, how: str, samples: Callable[[], Samples], expected: Expected, *, voice: bool = False
) -> Kind:
    return from_bytes(
        _FAMILY, name, "wav", how, lambda: wav.floats(samples()), expected, voice=voice
    )


def _spoilt(*values: float) -> Samples:
    samples = voice().copy()
    samples[1000 : 1000 + 100 * len(values)] = np.repeat(values, 100)
    return samples


def _noise(seed: int = 3) -> Samples:
    return 0.1 * np.random.default_rng(seed).standard_normal(4 * _RATE_HZ).clip(-3, 3)


def _tone() -> Samples:
    return 0.3 * np.sin(2 * np.pi * 440 * np.arange(4 * _RATE_HZ) / _RATE_HZ)


def _music() -> Samples:
    """Four chords of plucked strings: harmonics that die away."""
    time_s = np.arange(_RATE_HZ) / _RATE_HZ
    chords_hz = ((262, 330, 392), (220, 262, 330), (175, 220, 262), (196, 247, 294))
    bars = [
        sum(
            np.sin(2 * np.pi * pitch_hz * partial * time_s)
            * np.exp(-3 * partial * time_s)
            / partial
            for pitch_hz in chord
            for partial in (1, 2, 3, 4)
        )
        for chord in chords_hz
    ]
    return np.concatenate(bars) * 0.1


def _laughter() -> Samples:
    """Short breathy bursts, five a second: voice and noise under one envelope."""
    time_s = np.arange(4 * _RATE_HZ) / _RATE_HZ
    bursts = np.clip(np.sin(2 * np.pi * 5 * time_s), 0, 1) ** 2
    return (0.5 * voice(pitch_hz=220.0) + _noise()) * bursts


def _speech_then_silence() -> Samples:
    return np.concatenate([voice(seconds=10.0), np.zeros(50 * _RATE_HZ)])


KINDS: tuple[Kind, ...] = (
    _floats("nan", "100 NaN in the voice", lambda: _spoilt(np.nan), _NONFINITE, voice=True),
    _floats(
        "nan-all", "nothing but NaN", lambda: voice() * np.nan, failed("NONFINITE", "DECODED_EMPTY")
    ),
    _floats(
        "infinite",
        "100 times plus and 100 times minus infinity",
        lambda: _spoilt(np.inf, -np.inf),
        _NONFINITE,
        voice=True,
    ),
    _floats("huge", "100 samples of 1e30", lambda: _spoilt(1e30), _NONFINITE, voice=True),
    _floats("denormal", "noise of 1e-40, which slows some CPUs", lambda: _noise() * 1e-39, clean()),
    _pcm("silence", "digital silence", lambda: np.zeros(4 * _RATE_HZ)),
    _pcm("direct-current", "every sample is 0.5", lambda: np.full(4 * _RATE_HZ, 0.5)),
    _pcm(
        "one-sample",
        "a single sample",
        lambda: np.array([0.1]),
        clean((0.0, 0.001)).or_failed("TOO_SHORT", "DECODED_EMPTY"),
    ),
    _pcm(
        "159-samples",
        "one sample less than a hop of 10 ms",
        lambda: _tone()[:159],
        clean((0.009, 0.011)).or_failed("TOO_SHORT"),
    ),
    _pcm(
        "anti-phase",
        "stereo, the right channel upside down: the mean is silence",
        lambda: np.stack([voice(), -voice()]),
        voice=True,
    ),
    _pcm(
        "dead-channel",
        "stereo, nothing on the right",
        lambda: np.stack([voice(), 0 * voice()]),
        voice=True,
    ),
    from_bytes(
        _FAMILY,
        "192-khz-32-bit",
        "wav",
        "192 kHz in 32-bit integers",
        lambda: encoded.encode(voice(192_000), 192_000, "wav", "pcm_s32le"),
        clean(),
        voice=True,
    ),
    from_bytes(
        _FAMILY,
        "8-khz-a-law",
        "wav",
        "a telephone line: 8 kHz, A-law",
        lambda: encoded.encode(voice(8_000), 8_000, "wav", "pcm_alaw"),
        clean(),
        voice=True,
    ),
    _pcm("clipped", "the voice 20 dB too loud", lambda: (voice() * 10).clip(-1, 1)),
    _pcm("noise", "white noise", _noise),
    _pcm("tone", "a sine of 440 Hz", _tone),
    _pcm("music", "four chords", _music),
    _pcm("laughter", "bursts of voice and breath", _laughter),
    _pcm(
        "two-voices",
        "a low voice, then a high one: stands in for two languages",
        lambda: np.concatenate([voice(seconds=2.0), voice(pitch_hz=210.0, seconds=2.0)]),
    ),
    _pcm(
        "speech-then-silence",
        "10 s of voice, then 50 s of silence",
        _speech_then_silence,
        clean(60.0),
    ),
)
