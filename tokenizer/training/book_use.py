"""How alive the codebooks are: share of entries in use, perplexity, dead entries."""

# Shapes: N frames, K codebooks.

from collections.abc import Sequence

import torch
from torch import Tensor

from tokenizer.codebook import Codebook


class BookUse:
    """Counts codes over a window of steps."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._counts = [torch.zeros(size) for size in sizes]

    def add(self, codes_NK: Tensor) -> None:
        for column, counts in enumerate(self._counts):
            found = codes_NK[:, column].cpu()
            counts += torch.bincount(found, minlength=counts.shape[0])

    def figures(self) -> dict[str, float]:
        """`use/k` (share of entries chosen) and `perplexity/k`, the exponential of the entropy."""
        figures = {}
        for book, counts in enumerate(self._counts):
            shares = counts / counts.sum().clamp(min=1)
            entropy = -(shares * shares.clamp(min=1e-12).log()).sum()
            figures[f"use/{book}"] = float((counts > 0).float().mean())
            figures[f"perplexity/{book}"] = float(entropy.exp())
        return figures

    def clear(self) -> None:
        for counts in self._counts:
            counts.zero_()


def dead_entries(codebooks: Sequence[Codebook], threshold: float) -> dict[str, float]:
    """`dead/k`: entries whose moving count is below the threshold."""
    return {
        f"dead/{book}": float((codebook.cluster_size < threshold).sum())
        for book, codebook in enumerate(codebooks)
    }
