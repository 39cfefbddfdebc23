"""How much of each codebook a set of clips uses, and what the codes cost."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


class CodebookUse:
    """Counts of every entry of the first codebooks, over all codes that were added."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = tuple(sizes)
        self._counts = [np.zeros(size, np.int64) for size in sizes]

    def add(self, codes: npt.NDArray[np.integer[Any]]) -> None:
        """Codes `[frames, codebooks]`, as many codebooks as there are sizes."""
        for counts, column in zip(self._counts, codes.T, strict=True):
            counts += np.bincount(column, minlength=counts.shape[0])

    @property
    def shares(self) -> list[float]:
        """Of each codebook, the share of entries that were used at least once, 0 to 1."""
        return [float((counts > 0).mean()) for counts in self._counts]

    @property
    def perplexities(self) -> list[float]:
        """Of each codebook, exp of the entropy of its use: 1 to its size. 0 without any codes."""
        return [_perplexity(counts) for counts in self._counts]


def bitrate_kbps(sizes: Sequence[int], frame_rate_hz: float) -> float:
    """Kilobits a second at a fixed number of bits per code: frame rate * sum of log2(size)."""
    return float(frame_rate_hz * np.log2(np.asarray(sizes, np.float64)).sum() / 1000)


def _perplexity(counts: npt.NDArray[np.int64]) -> float:
    used = counts[counts > 0] / max(1, counts.sum())
    return float(np.exp(-(used * np.log(used)).sum())) if used.size else 0.0
