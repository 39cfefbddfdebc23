"""The few directions that a codebook is confined to while it is trained.

A codebook over all directions has entries for each voice and channel that it was trained on, and a
stranger uses but a part of them. Looked up in a few directions (Yu et al. 2022, "Vector-quantized
image modeling with improved VQGAN", call it factorized codes), those in which frames of one clip
differ most, nearly all entries serve any voice; what tells voices apart is left to the codebooks
after it. Encoding and decoding know nothing of this: the entries just differ in few directions.
"""

# Shapes: N rows, D width, R directions.

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tokenizer.codebook import Codebook
from tokenizer.together import add_up


@dataclass(frozen=True, kw_only=True, slots=True)
class Subspace:
    """A point and R orthonormal directions through it."""

    centre: Tensor
    """`[D]`."""
    basis: Tensor
    """`[D, R]`."""

    @classmethod
    def inside_clips(cls, rows_ND: Tensor, lengths: Sequence[int], rank: int) -> "Subspace":
        """Of the `rank` directions in which rows of the same clip differ most.

        The rows are the clips' one after the other, `lengths` each; all processes' count.
        """
        moved = [clip - clip.mean(dim=0) for clip in rows_ND.split(list(lengths))]
        scatter_DD = _scatter(torch.cat(moved))
        add_up(scatter_DD)
        return cls(centre=_mean(rows_ND), basis=_principal(scatter_DD, rank).to(rows_ND))

    @classmethod
    def of_entries(cls, codebook: Codebook, rank: int) -> "Subspace":
        """That in which a confined codebook's entries lie."""
        centre_D = codebook.embed.mean(dim=0)
        scatter_DD = _scatter(codebook.embed - centre_D)
        return cls(centre=centre_D, basis=_principal(scatter_DD, rank).to(centre_D))

    def project(self, rows_ND: Tensor) -> Tensor:
        """The nearest points of the subspace, `[N, D]`."""
        inside_NR = (rows_ND - self.centre) @ self.basis
        return self.centre + inside_NR @ self.basis.T

    def beside(self, rows_ND: Tensor) -> Tensor:
        """From the subspace to the mean of all processes' rows, across its directions, `[D]`."""
        mean_1D = _mean(rows_ND).unsqueeze(0)
        return (mean_1D - self.project(mean_1D)).squeeze(0)


def _mean(rows_ND: Tensor) -> Tensor:
    sum_D, count = rows_ND.sum(dim=0), rows_ND.new_tensor(float(len(rows_ND)))
    add_up(sum_D, count)
    return sum_D / count


def _scatter(moved_ND: Tensor) -> Tensor:
    moved_ND = moved_ND.detach().double()
    return moved_ND.T @ moved_ND


def _principal(scatter_DD: Tensor, rank: int) -> Tensor:
    return torch.linalg.eigh(scatter_DD).eigenvectors[:, -rank:]
