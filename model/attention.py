"""Attention of new positions: among themselves, within packed documents, or over a cache."""

# Shapes: B rows, T new positions, N = B*T of them all, S positions seen, D width, H heads,
# K key-value heads, E head width, F = E/2.

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.cache import KVCache
from model.documents import Documents, attend_documents
from model.linear import Linear, stacked
from model.spec import TransformerSpec
from tokenizer.attention import rotate
from tokenizer.linear import RowProduct


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Where the new positions lie and what they may see; the same for all layers of one call."""

    rows: int
    """B."""
    cos: Tensor
    """`[N, 1, F]`."""
    sin: Tensor
    cache: KVCache | None = None
    positions: Tensor | None = None
    """Of one new position of each row, `[B]`, where they differ; the host knows the others."""
    extent: int = 0
    """Positions of the cache that are read, where each row has one new position."""
    unseen: Tensor | None = None
    """`[B, 1, 1, S]`, 0 and -inf; None: all that is read is seen."""
    documents: Documents | None = None
    """Of one packed row; with a cache, what each of its rows goes on with."""

    laid_out: bool = False
    """Whether weights laid out for generation serve, on this machine."""


class Attention(nn.Module):
    """Projections around scaled dot-product attention."""

    def __init__(self, spec: TransformerSpec) -> None:
        super().__init__()
        self.spec = spec
        inner, kv = spec.num_heads * spec.head_width, spec.num_kv_heads * spec.head_width
        self.q_proj = Linear(spec.width, inner)
        self.k_proj = Linear(spec.width, kv)
        self.v_proj = Linear(spec.width, kv)
        self.o_proj = Linear(inner, spec.width, bias=False)
        self._product = RowProduct(stacked)

    def forward(self, x_ND: Tensor, places: Places, layer: int) -> Tensor:
        """What each position gathers, `[N, H*E]`, before the output projection."""
        q_NHE, k_NKE, v_NKE = self._project(x_ND, places)
        cache, documents = places.cache, places.documents
        dropout = self.spec.dropout if self.training else 0.0
        if documents is not None:
            if cache is not None:
                seen = cache.write_documents(layer, k_NKE, v_NKE, documents)
            if cache is None or cache.longest == 0:
                attended = attend_documents(q_NHE, k_NKE, v_NKE, documents, dropout)
            else:
                attended = self._continued(q_NHE, documents, seen)
        elif cache is None:
            attended = self._apart(q_NHE, k_NKE, v_NKE, places.rows, dropout)
        else:
            keys, values = cache.write(layer, k_NKE, v_NKE, places.positions, places.extent)
            # The heads that share keys become queries of one head: nothing is repeated.
            q_BKRE = q_NHE.unflatten(1, (self.spec.num_kv_heads, -1))
            attended = functional.scaled_dot_product_attention(
                q_BKRE, keys, values, attn_mask=places.unseen
            )
        return attended.reshape(x_ND.shape[0], -1)

    def _project(self, x_ND: Tensor, places: Places) -> tuple[Tensor, Tensor, Tensor]:
        spec, parts = self.spec, (self.q_proj, self.k_proj, self.v_proj)
        if not places.laid_out:
            q_NHE, k_NKE, v_NKE = (
                part(x_ND).unflatten(-1, (-1, spec.head_width)) for part in parts
            )
            return (
                rotate(q_NHE, places.cos, places.sin),
                rotate(k_NKE, places.cos, places.sin),
                v_NKE,
            )
        # One product and one rotation for all: fewer, larger calls.
        bias = torch.cat([part.bias for part in parts])
        projected = self._product(x_ND, *(part.weight for part in parts), bias_O=bias)
        heads = projected.view(x_ND.shape[0], -1, spec.head_width)
        turned = rotate(heads[:, : -spec.num_kv_heads], places.cos, places.sin)
        q_NHE, k_NKE = turned[:, : spec.num_heads], turned[:, spec.num_heads :]
        return q_NHE, k_NKE, heads[:, -spec.num_kv_heads :]

    def _apart(
        self, q_NHE: Tensor, k_NKE: Tensor, v_NKE: Tensor, rows: int, dropout: float
    ) -> Tensor:
        """Rows of equal length that see themselves only."""
        spec = self.spec
        q, k, v = (part.unflatten(0, (rows, -1)).transpose(1, 2) for part in (q_NHE, k_NKE, v_NKE))
        out = functional.scaled_dot_product_attention(
            q,
            k,
            v,
            is_causal=spec.causal,
            dropout_p=dropout,
            enable_gqa=spec.num_kv_heads != spec.num_heads,
        )
        return out.transpose(1, 2)

    def _continued(
        self, q_NHE: Tensor, documents: Documents, seen: list[tuple[Tensor, Tensor]]
    ) -> Tensor:
        """Each document after what its row of the cache has before it."""
        attended = []
        for q_THE, (k_KSE, v_KSE) in zip(q_NHE.split(documents.lengths), seen, strict=True):
            count, size = q_THE.shape[0], k_KSE.shape[1]
            mask = torch.ones(count, size, dtype=torch.bool, device=q_THE.device)
            out = functional.scaled_dot_product_attention(
                q_THE.transpose(0, 1).unsqueeze(0),
                k_KSE.unsqueeze(0),
                v_KSE.unsqueeze(0),
                attn_mask=mask.tril(size - count),
                enable_gqa=self.spec.num_kv_heads != self.spec.num_heads,
            )
            attended.append(out.squeeze(0).transpose(0, 1))
        return torch.cat(attended)
