"""Attention within documents that lie one after the other in a row: what training packs.

Positions begin anew with each document and nothing looks across a border, so a document's numbers
are those that it has alone.
"""

# Shapes: P positions of all documents, H heads, K key-value heads, E head width.

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.varlen import varlen_attn

from schemas.errors import ModelError


@dataclass(frozen=True)
class Documents:
    """Lengths, in positions, of the documents of one packed row; together they are the row."""

    lengths: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.lengths or min(self.lengths) < 1:
            raise ModelError(
                f"documents of lengths {self.lengths}: wanted one or more, each from 1"
            )

    @property
    def num_positions(self) -> int:
        return sum(self.lengths)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """First position of each document."""
        starts, at = [], 0
        for length in self.lengths:
            starts.append(at)
            at += length
        return tuple(starts)

    def positions(self, device: torch.device) -> Tensor:
        """Place of each position within its document, `[P]`."""
        lengths = torch.tensor(self.lengths, device=device)
        starts = torch.tensor(self.starts, device=device)
        everywhere = torch.arange(self.num_positions, device=device)
        return everywhere - torch.repeat_interleave(starts, lengths)


def attend_documents(
    q_PHE: Tensor, k_PKE: Tensor, v_PKE: Tensor, documents: Documents, dropout: float = 0.0
) -> Tensor:
    """Causal attention `[P, H, E]` within each document.

    On a GPU in half precision one kernel for all documents (`varlen_attn`); elsewhere one call for
    each, which costs the sum of squared lengths as well.
    """
    lengths = documents.lengths
    if q_PHE.is_cuda and q_PHE.dtype in (torch.bfloat16, torch.float16) and dropout == 0.0:
        repeats = q_PHE.shape[1] // k_PKE.shape[1]
        ends = torch.tensor((*documents.starts, documents.num_positions), dtype=torch.int32)
        ends = ends.to(q_PHE.device, non_blocking=True)
        found = varlen_attn(
            q_PHE,
            k_PKE.repeat_interleave(repeats, dim=1),
            v_PKE.repeat_interleave(repeats, dim=1),
            ends,
            ends,
            max(lengths),
            max(lengths),
            window_size=(-1, 0),
        )
        return found if isinstance(found, Tensor) else found[0]
    attended = [
        functional.scaled_dot_product_attention(
            q.transpose(0, 1).unsqueeze(0),
            k.transpose(0, 1).unsqueeze(0),
            v.transpose(0, 1).unsqueeze(0),
            is_causal=True,
            dropout_p=dropout,
            enable_gqa=q_PHE.shape[1] != k_PKE.shape[1],
        )
        .squeeze(0)
        .transpose(0, 1)
        for q, k, v in zip(
            q_PHE.split(lengths), k_PKE.split(lengths), v_PKE.split(lengths), strict=True
        )
    ]
    return torch.cat(attended)
