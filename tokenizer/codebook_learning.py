"""How a codebook moves while a tokenizer trains: k-means to start, moving averages after.

Never part of encoding or decoding. Where several processes train together, counts and sums are
added up over all of them, and what is drawn at random is drawn by the first.
"""

# Shapes: N rows, D width, V entries.

from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from tokenizer.codebook import Codebook
from tokenizer.together import add_up, are_together

KMEANS_ROUNDS = 50
_SMOOTHING = 1e-5


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningSpec:
    """Settings of the published tokenizer, and three choices of ours."""

    dead_code_threshold: float
    """Entries used less than this (a moving count per step) are replaced by rows of the batch."""
    decay: float = 0.99
    keep_replacements: bool = True
    """Replace an entry's running averages as well. The published code does not, so its averaging
    undoes every replacement in the same step; switch this off to reproduce it."""
    dims: tuple[int, ...] = ()
    """Directions that the first codebooks are confined to, one number each; none: not confined."""
    start_from_sums: bool = True
    """After k-means the running sums are sums of rows. The published code leaves means there,
    beside whole counts, so its first step shrinks an entry of n rows n-fold; off does so too."""


@torch.no_grad()
def initialise(
    codebook: Codebook,
    rows_ND: Tensor,
    spec: LearningSpec,
    random: torch.Generator | None = None,
) -> None:
    """Set entries and averages to the k-means of these rows. An empty cluster keeps its mean."""
    rows_ND = rows_ND.float()
    means_VD = _drawn(rows_ND, codebook.size, random)
    counts_V = torch.zeros(codebook.size, device=rows_ND.device)
    for _ in range(KMEANS_ROUNDS):
        nearest_N = torch.cdist(rows_ND, means_VD).argmin(dim=-1)
        counts_V, sums_VD = _tally(rows_ND, nearest_N, codebook.size)
        filled_V1 = (counts_V > 0).unsqueeze(1)
        means_VD = torch.where(filled_V1, sums_VD / counts_V.clamp(min=1).unsqueeze(1), means_VD)
    codebook.embed.copy_(means_VD)
    # An empty cluster has no sum: counted as one row, its entry stays where it is.
    weights_V1 = counts_V.clamp(min=1).unsqueeze(1) if spec.start_from_sums else 1.0
    codebook.embed_avg.copy_(means_VD * weights_V1)
    codebook.cluster_size.copy_(counts_V.clamp(min=1) if spec.start_from_sums else counts_V)
    codebook.inited.fill_(1.0)


@torch.no_grad()
def update(
    codebook: Codebook,
    rows_ND: Tensor,
    codes_N: Tensor,
    spec: LearningSpec,
    random: torch.Generator | None = None,
) -> None:
    """One step: revive entries that are hardly used, then move all towards what chose them."""
    rows_ND = rows_ND.float()
    dead_V = codebook.cluster_size < spec.dead_code_threshold
    fresh_VD = _drawn(rows_ND, codebook.size, random)
    codebook.embed.copy_(torch.where(dead_V.unsqueeze(1), fresh_VD, codebook.embed))
    if spec.keep_replacements:
        count = spec.dead_code_threshold
        codebook.embed_avg.copy_(
            torch.where(dead_V.unsqueeze(1), fresh_VD * count, codebook.embed_avg)
        )
        codebook.cluster_size.masked_fill_(dead_V, count)
    counts_V, sums_VD = _tally(rows_ND, codes_N, codebook.size)
    codebook.cluster_size.lerp_(counts_V, 1 - spec.decay)
    codebook.embed_avg.lerp_(sums_VD, 1 - spec.decay)
    total = codebook.cluster_size.sum()
    smoothed_V = (codebook.cluster_size + _SMOOTHING) / (total + codebook.size * _SMOOTHING) * total
    codebook.embed.copy_(codebook.embed_avg / smoothed_V.unsqueeze(1))


@torch.no_grad()
def shift(codebook: Codebook, by_D: Tensor) -> None:
    """Move all entries, used or not."""
    codebook.embed += by_D
    codebook.embed_avg += codebook.cluster_size.unsqueeze(1) * by_D


def _tally(rows_ND: Tensor, codes_N: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """How many rows chose each entry, and their sum, over all processes."""
    counts_V = torch.zeros(size, device=rows_ND.device)
    counts_V.index_add_(0, codes_N, torch.ones_like(codes_N, dtype=counts_V.dtype))
    sums_VD = rows_ND.new_zeros(size, rows_ND.shape[1]).index_add_(0, codes_N, rows_ND)
    add_up(counts_V, sums_VD)
    return counts_V, sums_VD


def _drawn(rows_ND: Tensor, count: int, random: torch.Generator | None) -> Tensor:
    """Rows at random, each once where there are enough of them; the first process's everywhere."""
    available = rows_ND.shape[0]
    if available >= count:
        picks = torch.randperm(available, generator=random)[:count]
    else:
        picks = torch.randint(available, (count,), generator=random)
    drawn_VD = rows_ND[picks.to(rows_ND.device)].contiguous()
    if are_together():
        distributed.broadcast(drawn_VD, src=0)
    return drawn_VD
