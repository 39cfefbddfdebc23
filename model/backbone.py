"""The transformer of all three parts: backbone, patch encoder and patch decoder.

Pre-norm layers with RMSNorm, rotary positions, grouped-query attention with biases on queries, keys
and values, and SwiGLU, under the names of the published checkpoint.
"""

# Shapes: B rows, T new positions, S positions seen, D width, H heads, K key-value heads, E head
# width, F = E/2.

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.cache import KVCache
from model.documents import Documents, attend_documents
from model.spec import TransformerSpec
from tokenizer.attention import Rope, rotate


class Linear(nn.Linear):
    """Parameters are left as memory holds them: they come from a checkpoint or from a seed."""

    def reset_parameters(self) -> None:
        # Drawing on the meta device would load 100 MB of torch's Python kernels.
        pass


class Embedding(nn.Embedding):
    """As `Linear`: no values of its own."""

    def reset_parameters(self) -> None:
        pass


@dataclass(frozen=True, kw_only=True, slots=True)
class _Places:
    """Where the new positions lie and what they may see; the same for all layers of one call."""

    cos: Tensor
    """`[B, T, 1, F]`."""
    sin: Tensor
    positions: Tensor | None
    """Where they go in the cache, `[B, T]`; None without one."""
    extent: int
    seen: Tensor | None
    """`[B, 1, T, S]`; None: the new positions see each other only."""
    documents: Documents | None = None
    """Of one packed row; None: each row is one document."""


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

    def forward(self, x_BTD: Tensor, places: _Places, cache: KVCache | None, layer: int) -> Tensor:
        heads = (-1, self.spec.head_width)
        q_BTHE = rotate(self.q_proj(x_BTD).unflatten(-1, heads), places.cos, places.sin)
        k_BTKE = rotate(self.k_proj(x_BTD).unflatten(-1, heads), places.cos, places.sin)
        v_BTKE = self.v_proj(x_BTD).unflatten(-1, heads)
        if places.documents is not None:
            dropout = self.spec.dropout if self.training else 0.0
            out_THE = attend_documents(q_BTHE[0], k_BTKE[0], v_BTKE[0], places.documents, dropout)
            packed: Tensor = self.o_proj(out_THE.flatten(1).unsqueeze(0))
            return packed
        k, v = k_BTKE.transpose(1, 2), v_BTKE.transpose(1, 2)
        if cache is not None and places.positions is not None:
            seen = cache.write(layer, k_BTKE, v_BTKE, places.positions, places.extent)
            if places.seen is not None:
                k, v = seen
        out_BTHE = self._attend(q_BTHE, k, v, places.seen)
        attended: Tensor = self.o_proj(out_BTHE.flatten(2))
        return attended

    def _attend(
        self, q_BTHE: Tensor, k_BKSE: Tensor, v_BKSE: Tensor, seen_B1TS: Tensor | None
    ) -> Tensor:
        spec = self.spec
        if q_BTHE.shape[1] == 1 and seen_B1TS is not None:
            # The heads that share keys become queries of one head: nothing is repeated.
            q_BKRE = q_BTHE.squeeze(1).unflatten(1, (spec.num_kv_heads, -1))
            out = functional.scaled_dot_product_attention(
                q_BKRE, k_BKSE, v_BKSE, attn_mask=seen_B1TS
            )
            return out.flatten(1, 2).unsqueeze(1)
        out = functional.scaled_dot_product_attention(
            q_BTHE.transpose(1, 2),
            k_BKSE,
            v_BKSE,
            attn_mask=seen_B1TS,
            is_causal=spec.causal and seen_B1TS is None,
            dropout_p=spec.dropout if self.training else 0.0,
            enable_gqa=spec.num_kv_heads != spec.num_heads,
        )
        return out.transpose(1, 2)


class Ffn(nn.Module):
    """SwiGLU: `down(silu(gate(x)) * up(x))`."""

    def __init__(self, spec: TransformerSpec) -> None:
        super().__init__()
        self.gate_proj = Linear(spec.width, spec.ffn_width, bias=False)
        self.up_proj = Linear(spec.width, spec.ffn_width, bias=False)
        self.down_proj = Linear(spec.ffn_width, spec.width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        gated: Tensor = self.down_proj(functional.silu(self.gate_proj(x_BTD)) * self.up_proj(x_BTD))
        return gated


class Layer(nn.Module):
    """`x + attention(norm(x))`, then `x + ffn(norm(x))`."""

    def __init__(self, spec: TransformerSpec, norm_eps: float) -> None:
        super().__init__()
        self.self_attn = Attention(spec)
        self.mlp = Ffn(spec)
        self.input_layernorm = nn.RMSNorm(spec.width, eps=norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(spec.width, eps=norm_eps)

    def forward(self, x_BTD: Tensor, places: _Places, cache: KVCache | None, layer: int) -> Tensor:
        x_BTD = x_BTD + self.self_attn(self.input_layernorm(x_BTD), places, cache, layer)
        out_BTD: Tensor = x_BTD + self.mlp(self.post_attention_layernorm(x_BTD))
        return out_BTD


class Transformer(nn.Module):
    """A stack of layers and a final norm; causal or not as its spec says."""

    def __init__(self, spec: TransformerSpec, *, rope_theta: float, norm_eps: float) -> None:
        super().__init__()
        self.spec = spec
        self.layers = nn.ModuleList(Layer(spec, norm_eps) for _ in range(spec.num_layers))
        self.norm = nn.RMSNorm(spec.width, eps=norm_eps)
        self._rope = Rope(spec.head_width, rope_theta)

    def forward(
        self,
        x_BTD: Tensor,
        cache: KVCache | None = None,
        after_layer: Callable[[int, Tensor], None] | None = None,
        documents: Documents | None = None,
    ) -> Tensor:
        """Normed output `[B, T, D]` of T new positions of each row.

        Without a cache they are positions 0..T-1. With one they follow what each row has in it, and
        their keys and values are written; the caller then advances the cache by as many as count.
        `after_layer` sees each layer's number, from 0, and its output. `documents` are those of a
        packed row: B is 1, and there is no cache.
        """
        places = self._places(x_BTD, cache, documents)
        for number, layer in enumerate(self.layers):
            x_BTD = layer(x_BTD, places, cache, number)
            if after_layer is not None:
                after_layer(number, x_BTD)
        normed: Tensor = self.norm(x_BTD)
        return normed

    def _places(self, x_BTD: Tensor, cache: KVCache | None, documents: Documents | None) -> _Places:
        count, device = x_BTD.shape[1], x_BTD.device
        if documents is not None:
            cos, sin = self._rope.tables(max(documents.lengths), device, x_BTD.dtype)
            positions_P = documents.positions(device)
            return _Places(
                cos=cos[positions_P].unsqueeze(1),
                sin=sin[positions_P].unsqueeze(1),
                positions=None,
                extent=0,
                seen=None,
                documents=documents,
            )
        if cache is None:
            cos, sin = self._rope.tables(count, device, x_BTD.dtype)
            return _Places(
                cos=cos[:count].unsqueeze(1),
                sin=sin[:count].unsqueeze(1),
                positions=None,
                extent=0,
                seen=None,
            )
        positions_BT = cache.positions(count)
        cos, sin = self._rope.tables(cache.capacity, device, x_BTD.dtype)
        extent = cache.extent(count)
        seen = None
        if cache.longest > 0 or count == 1:
            places_S = torch.arange(extent, device=device)
            seen = (places_S <= positions_BT.unsqueeze(-1)).unsqueeze(1)
        return _Places(
            cos=cos[positions_BT].unsqueeze(2),
            sin=sin[positions_BT].unsqueeze(2),
            positions=positions_BT,
            extent=extent,
            seen=seen,
        )


class Backbone(Transformer):
    """The transformer over groups, with the text embedding under its published name."""

    def __init__(
        self, spec: TransformerSpec, *, vocab_size: int, rope_theta: float, norm_eps: float
    ) -> None:
        super().__init__(spec, rope_theta=rope_theta, norm_eps=norm_eps)
        self.embed_tokens = Embedding(vocab_size, spec.width)
