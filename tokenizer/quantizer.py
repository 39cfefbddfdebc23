"""Residual vector quantisation: each codebook describes what the ones before it left over."""

# Shapes: N rows, D width, K codebooks.

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from schemas.errors import TokenizerError
from tokenizer.codebook import Codebook
from tokenizer.codebook_learning import LearningSpec, initialise, shift, update
from tokenizer.subspace import Subspace


@dataclass(frozen=True, kw_only=True, slots=True)
class Learning:
    """What one training batch became."""

    vectors: Tensor
    """`[N, D]`; their gradient is passed on to the input unchanged."""
    codes: Tensor
    """`[N, K]`."""
    commitment_loss: Tensor
    """Mean over the codebooks of the squared distance to the chosen entries."""
    confined: tuple[Tensor, ...] = ()
    """What each confined codebook sees of the input, `[N, D]`; gradients reach the input."""


class _Level(nn.Module):
    """Holds a codebook under the published checkpoint's name."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self._codebook = Codebook(size, width)


class _Levels(nn.Module):
    """Holds the levels under the published checkpoint's name."""

    def __init__(self, sizes: Sequence[int], width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Level(size, width) for size in sizes)


class ResidualQuantizer(nn.Module):
    """Vectors to codes and back, in float32 whatever the model's dtype."""

    def __init__(self, sizes: Sequence[int], width: int) -> None:
        super().__init__()
        self.vq = _Levels(sizes, width)

    @property
    def codebooks(self) -> list[Codebook]:
        return [level._codebook for level in self.vq.layers if isinstance(level, _Level)]

    def encode(self, x_ND: Tensor, num_codebooks: int) -> Tensor:
        """Codes `[N, K]` of the first `num_codebooks` codebooks; the others are not computed."""
        rest_ND, codes = x_ND.float(), []
        for codebook in self.codebooks[:num_codebooks]:
            codes_N = codebook.nearest(rest_ND)
            rest_ND = rest_ND - codebook.lookup(codes_N)
            codes.append(codes_N)
        return torch.stack(codes, dim=-1)

    @torch.no_grad()
    def initialise(
        self,
        x_ND: Tensor,
        spec: LearningSpec,
        random: torch.Generator | None = None,
        *,
        num_steps: int = 1,
        lengths: Sequence[int] | None = None,
    ) -> None:
        """Set every codebook to the k-means of what the ones before leave of these rows.

        The rows are those of clips of `lengths` rows, one after the other; None: of one clip.

        The rows are those of `num_steps` steps: the running counts and sums become those of one,
        or an entry that nobody chooses any more would pass for used until its count has worn off.
        """
        rest_ND = x_ND.float()
        for level, codebook in enumerate(self.codebooks):
            seen_ND = rest_ND
            if level < len(spec.dims):
                clips = lengths or [len(rest_ND)]
                subspace = Subspace.inside_clips(rest_ND, clips, spec.dims[level])
                seen_ND = subspace.project(rest_ND)
            initialise(codebook, seen_ND, spec, random)
            codebook.cluster_size /= num_steps
            codebook.embed_avg /= num_steps
            rest_ND = rest_ND - codebook.lookup(codebook.nearest(rest_ND))

    def learn(
        self,
        x_ND: Tensor,
        spec: LearningSpec,
        *,
        num_codebooks: int | None = None,
        random: torch.Generator | None = None,
    ) -> "Learning":
        """Quantise a training batch and, in training mode, move the codebooks afterwards.

        Codebooks that were never set are initialised from the batch first, in either mode;
        confined ones have to be set before.
        Gradients pass straight through to `x_ND`; of the commitment losses only the first
        codebook's reaches it, because a level's leftover no longer depends on its input. Where
        codebooks are confined, all reach it, or nothing would hold what the first does not see.
        """
        rest_ND, total_ND = x_ND.float(), torch.zeros_like(x_ND, dtype=torch.float32)
        codes, losses, confined = [], [], []
        for level, codebook in enumerate(self.codebooks[:num_codebooks]):
            if not bool(codebook.inited):
                if spec.dims:
                    raise TokenizerError("confined codebooks start with initialise(), not here")
                initialise(codebook, rest_ND.detach(), spec, random)
            codes_N = codebook.nearest(rest_ND.detach())
            chosen_ND = codebook.lookup(codes_N)
            left_ND = x_ND.float() - total_ND.detach() if spec.dims else rest_ND
            seen_ND, subspace = left_ND, None
            if level < len(spec.dims):
                subspace = Subspace.of_entries(codebook, spec.dims[level])
                seen_ND = subspace.project(left_ND)
                confined.append(seen_ND)
            if self.training:
                update(codebook, seen_ND.detach(), codes_N, spec, random)
                if subspace is not None:  # or the books behind would have to carry what drifts
                    shift(codebook, subspace.beside(left_ND.detach()) * (1 - spec.decay))
            losses.append(functional.mse_loss(seen_ND, chosen_ND))
            straight_ND = rest_ND + (chosen_ND - rest_ND).detach()
            rest_ND = rest_ND - straight_ND
            total_ND = total_ND + straight_ND
            codes.append(codes_N)
        return Learning(
            vectors=total_ND.to(x_ND.dtype),
            codes=torch.stack(codes, dim=-1),
            commitment_loss=torch.stack(losses).mean(),
            confined=tuple(confined),
        )

    def decode(self, codes_NK: Tensor) -> Tensor:
        """Sum of the vectors that the codes stand for, `[N, D]`; column k belongs to codebook k."""
        books = self.codebooks
        if codes_NK.shape[-1] > len(books):
            raise TokenizerError(
                f"codes have {codes_NK.shape[-1]} columns, wanted at most {len(books)}"
            )
        total_ND = books[0].lookup(codes_NK[:, 0])
        for column in range(1, codes_NK.shape[-1]):
            total_ND = total_ND + books[column].lookup(codes_NK[:, column])
        return total_ND
