"""Which language a segment is in, from what Whisper thinks of it and of its recording."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SURE_PROBABILITY = 0.8
"""A segment this sure of its language speaks for itself (Emilia asks for 0.8 as well)."""

Probabilities = dict[str, float]
"""Language code to probability, over all languages of the model."""


@dataclass(frozen=True, slots=True)
class DetectedLanguage:
    code: str
    probability: float


def probabilities(ranked: Sequence[tuple[str, float]]) -> Probabilities:
    """CTranslate2's ranking, `("<|en|>", 0.98)` and so on, by language code."""
    return {token[2:-2]: probability for token, probability in ranked}


def decide_language(own: Probabilities, context: Sequence[Probabilities]) -> DetectedLanguage:
    """The segment's own language if it is sure of one, else the mean of it and its context.

    Two seconds of speech often are too little to tell Spanish from Portuguese; the recording
    around them is not. But a sure segment is not outvoted: people switch languages.
    """
    codes = sorted(own)
    own_row = _row(own, codes)
    if own_row.max() < SURE_PROBABILITY and context:
        context_row = np.mean([_row(other, codes) for other in context], axis=0)
        own_row = (own_row + context_row) / 2
    best = int(own_row.argmax())
    return DetectedLanguage(codes[best], float(own_row[best]))


def _row(by_code: Probabilities, codes: list[str]) -> npt.NDArray[np.float64]:
    return np.array([by_code[code] for code in codes])
