"""The transformer of all three parts: backbone, patch encoder and patch decoder.

Pre-norm layers with RMSNorm, rotary positions, grouped-query attention with biases on queries, keys
and values, and SwiGLU, under the names of the published checkpoint.
"""

# Shapes: B rows, T new positions, N = B*T of them all, D width.

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.attention import Attention, Places
from model.cache import KVCache
from model.documents import Documents
from model.linear import Embedding, Linear, stacked
from model.spec import TransformerSpec
from tokenizer.attention import Rope
from tokenizer.linear import RowProduct, onednn_serves


class Ffn(nn.Module):
    """SwiGLU: `down(silu(gate(x)) * up(x))`, up to the last product."""

    def __init__(self, spec: TransformerSpec) -> None:
        super().__init__()
        self.gate_proj = Linear(spec.width, spec.ffn_width, bias=False)
        self.up_proj = Linear(spec.width, spec.ffn_width, bias=False)
        self.down_proj = Linear(spec.ffn_width, spec.width, bias=False)
        self._product = RowProduct(stacked)

    def forward(self, x_ND: Tensor, places: Places) -> Tensor:
        """`silu(gate(x)) * up(x)`, `[N, ffn width]`."""
        if not places.laid_out:
            return functional.silu(self.gate_proj(x_ND)) * self.up_proj(x_ND)
        both = self._product(x_ND, self.gate_proj.weight, self.up_proj.weight)
        gate, up = both.chunk(2, dim=-1)
        return functional.silu(gate).mul_(up)


class Layer(nn.Module):
    """`x + attention(norm(x))`, then `x + ffn(norm(x))`, of rows `[N, D]`."""

    def __init__(self, spec: TransformerSpec, norm_eps: float) -> None:
        super().__init__()
        self.self_attn = Attention(spec)
        self.mlp = Ffn(spec)
        self.input_layernorm = nn.RMSNorm(spec.width, eps=norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(spec.width, eps=norm_eps)

    def forward(self, x_ND: Tensor, places: Places, layer: int) -> Tensor:
        attended = self.self_attn(self.input_layernorm(x_ND), places, layer)
        x_ND = _onto(x_ND, self.self_attn.o_proj, attended, places)
        gated = self.mlp(self.post_attention_layernorm(x_ND), places)
        return _onto(x_ND, self.mlp.down_proj, gated, places)


def _onto(x_ND: Tensor, projection: Linear, rows: Tensor, places: Places) -> Tensor:
    if places.laid_out:
        return projection.of_rows(rows, plus=x_ND)
    return x_ND + projection(rows)


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
        *,
        generating: bool = False,
    ) -> Tensor:
        """Normed output `[B, T, D]` of T new positions of each row.

        Without a cache they are positions 0..T-1. With one they follow what each row has in it, and
        their keys and values are written; the caller then advances the cache by as many. Rows that
        go on by unequal counts are packed: `documents` lie one after the other in a row (B is 1),
        one for each row of the cache; without a cache they are a packed row of training.
        `after_layer` sees each layer's number, from 0, and its output. `generating`, as whenever
        there is a cache: weights may be laid out a second time, for speed.
        """
        rows, count = x_BTD.shape[:2]
        if cache is not None and documents is None and count > 1:
            documents = Documents((count,) * rows)
        places = self._places(x_BTD, cache, documents)
        if generating or cache is not None:
            places = replace(places, laid_out=onednn_serves(x_BTD))
        x_ND = x_BTD.flatten(0, 1)
        for number, layer in enumerate(self.layers):
            x_ND = layer(x_ND, places, number)
            if after_layer is not None:
                after_layer(number, x_ND.unflatten(0, (rows, count)))
        normed: Tensor = self.norm(x_ND)
        return normed.unflatten(0, (rows, count))

    def _places(self, x_BTD: Tensor, cache: KVCache | None, documents: Documents | None) -> Places:
        rows, count = x_BTD.shape[:2]
        device, dtype = x_BTD.device, x_BTD.dtype
        if cache is not None:
            cache.make_room(documents.lengths if documents is not None else (1,) * rows)
        if documents is not None:
            positions_N = documents.positions(device)
            if cache is not None and cache.longest > 0:
                before_B = cache.lengths_B.repeat_interleave(
                    torch.tensor(documents.lengths, device=device)
                )
                positions_N = positions_N + before_B
            reach = max(documents.lengths) if cache is None else cache.capacity
            cos, sin = (
                table[positions_N].unsqueeze(1) for table in self._rope.tables(reach, device, dtype)
            )
            return Places(rows=rows, cos=cos, sin=sin, cache=cache, documents=documents)
        if cache is None:
            cos, sin = (
                table[:count].repeat(rows, 1).unsqueeze(1)
                for table in self._rope.tables(count, device, dtype)
            )
            return Places(rows=rows, cos=cos, sin=sin)
        tables = self._rope.tables(cache.capacity, device, dtype)
        if cache.common is not None:
            here = slice(cache.common, cache.common + 1)
            cos, sin = (table[here].expand(rows, -1).unsqueeze(1) for table in tables)
            return Places(rows=rows, cos=cos, sin=sin, cache=cache, extent=cache.common + 1)
        positions_B = cache.lengths_B
        cos, sin = (table[positions_B].unsqueeze(1) for table in tables)
        extent = cache.extent
        is_behind = torch.arange(extent, device=device) > positions_B.unsqueeze(-1)
        unseen = torch.zeros(is_behind.shape, device=device, dtype=dtype)
        unseen = unseen.masked_fill_(is_behind, float("-inf"))[:, None, None]
        return Places(
            rows=rows,
            cos=cos,
            sin=sin,
            cache=cache,
            positions=positions_B,
            extent=extent,
            unseen=unseen,
        )


class Backbone(Transformer):
    """The transformer over groups, with the text embedding under its published name."""

    def __init__(
        self, spec: TransformerSpec, *, vocab_size: int, rope_theta: float, norm_eps: float
    ) -> None:
        super().__init__(spec, rope_theta=rope_theta, norm_eps=norm_eps)
        self.embed_tokens = Embedding(vocab_size, spec.width)
