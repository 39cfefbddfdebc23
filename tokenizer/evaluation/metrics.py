"""How near a decoded waveform is to its original: PESQ, STOI, mel distance.

Pure functions of two float32 waveforms `[num_samples]` of one rate. Nothing is aligned in time: the
tokenizer adds no delay. The longer waveform is cut to the shorter one.
"""

import math
import warnings
from typing import Literal

import numpy as np
import torch
from pystoi import stoi as pystoi_stoi
from scipy.signal import resample_poly

from schemas.codes import Waveform
from tokenizer.mel import LogMel

PESQ_MISSING = "PESQ is left out, its package is not here: pip install 'audiomill[eval]'"
PESQ_RATE_HZ = {"wb": 16_000, "nb": 8_000}
PESQ_MAX_S = 20.0
"""Longest material ITU-T P.862.3 is meant for. The package's C code ends the process on some
minutes, where it counts more utterances than it has room for."""
STOI_RATE_HZ = 16_000


class UnscorableError(ValueError):
    """A metric that is not defined for this clip; the message says why in a few words."""


def has_pesq() -> bool:
    try:
        import pesq  # noqa: F401
    except ImportError:
        return False
    return True


def pesq(reference: Waveform, decoded: Waveform, rate_hz: int, band: Literal["wb", "nb"]) -> float:
    """MOS-LQO, about 1 (bad) to 4.6: ITU-T P.862.2 at 16 kHz (`wb`), P.862.1 at 8 kHz (`nb`).

    What is longer than 20 s is scored in equal parts, of which the mean is returned. Raises
    `UnscorableError` where no part holds an utterance, `ImportError` without the package.
    """
    from pesq import BufferTooShortError, NoUtterancesError
    from pesq import pesq as pesq_score

    target_hz = PESQ_RATE_HZ[band]
    pair = [_at(samples, rate_hz, target_hz) for samples in cut_to_shorter(reference, decoded)]
    num_parts = max(1, math.ceil(pair[0].shape[0] / (PESQ_MAX_S * target_hz)))
    scores = []
    for part, other in zip(*(np.array_split(samples, num_parts) for samples in pair), strict=True):
        if not part.any():  # the package divides by the peak
            continue
        try:
            scores.append(float(pesq_score(target_hz, part, other, band)))
        except (NoUtterancesError, BufferTooShortError):
            continue
    if not scores:
        raise UnscorableError(f"pesq_{band}: no utterance found")
    return float(np.mean(scores))


def stoi(reference: Waveform, decoded: Waveform, rate_hz: int) -> float:
    """Short-time objective intelligibility, about 0 to 1 (Taal et al., 2011).

    Raises `UnscorableError` for less than 30 frames (0.4 s) within 40 dB of the loudest one.
    """
    pair = [_at(samples, rate_hz, STOI_RATE_HZ) for samples in cut_to_shorter(reference, decoded)]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Not enough STFT frames", RuntimeWarning)
        try:
            return float(pystoi_stoi(*pair, STOI_RATE_HZ))
        except RuntimeWarning:
            raise UnscorableError("stoi: less than 0.4 s of sound") from None


def mel_distance(reference: Waveform, decoded: Waveform, mel: LogMel) -> float:
    """Mean absolute difference of natural-log mel spectra, over hops and bands; 0 is equal.

    The spectra are the tokenizer's own front end (`tokenizer/mel.py`: magnitude, 128 bands, 100
    hops a second, floor 1e-7), so 0.69 is a factor of two in magnitude.
    """
    with torch.inference_mode():
        ours, theirs = (
            mel(torch.from_numpy(np.array(samples)))
            for samples in cut_to_shorter(reference, decoded)
        )
        return float((ours - theirs).abs().mean(dtype=torch.float64))


def cut_to_shorter(reference: Waveform, decoded: Waveform) -> tuple[Waveform, Waveform]:
    num_samples = min(reference.shape[0], decoded.shape[0])
    return reference[:num_samples], decoded[:num_samples]


def _at(samples: Waveform, from_hz: int, to_hz: int) -> Waveform:
    common = math.gcd(from_hz, to_hz)
    resampled: Waveform = resample_poly(samples, to_hz // common, from_hz // common)
    return resampled.astype(np.float32)
