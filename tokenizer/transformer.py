"""The pre-norm transformer layer that encoder, decoder and vocoder share."""

# Shapes: N rows of a pack, D width, H heads, E head width, F = E/2.

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from tokenizer.attention import Rope, attend, rotate
from tokenizer.linear import Linear, RowProduct
from tokenizer.packing import Pack, rowwise
from tokenizer.spec import StackSpec


def make_norm(kind: str, width: int) -> nn.Module:
    """The published layer norm (eps 1e-5) or its RMS variant (eps 1e-6, weight only)."""
    return nn.LayerNorm(width, eps=1e-5) if kind == "LayerNorm" else nn.RMSNorm(width, eps=1e-6)


class Attention(nn.Module):
    """Projections around the attention kernel; the keys have no bias."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = Linear(width, width)
        self.k_proj = Linear(width, width, bias=False)
        self.v_proj = Linear(width, width)
        self.out_proj = Linear(width, width)
        self._product = RowProduct(_stacked)

    def project(self, x_ND: Tensor, cos_N1F: Tensor, sin_N1F: Tensor) -> tuple[Tensor, Tensor]:
        """Rotated queries and keys side by side, `[N, 2H, E]`, and values `[N, H, E]`."""
        parts = (self.q_proj, self.k_proj, self.v_proj)
        no_bias = self.q_proj.weight.new_zeros(self.q_proj.weight.shape[0])
        biases = [no_bias if part.bias is None else part.bias for part in parts]
        # One product for all three: fewer, larger calls.
        qkv = self._product(x_ND, *(part.weight for part in parts), bias_O=torch.cat(biases))
        heads = qkv.unflatten(-1, (3 * self.num_heads, -1))
        rotated, values = heads.split((2 * self.num_heads, self.num_heads), dim=1)
        return rotate(rotated, cos_N1F, sin_N1F), values


def _stacked(*weights: Tensor) -> Tensor:
    return torch.cat(weights)


class TransformerLayer(nn.Module):
    """`x + attention(norm(x))`, then `x + ffn(norm(x))`, cut where rows meet."""

    def __init__(self, spec: StackSpec, norm: str) -> None:
        super().__init__()
        self.self_attn = Attention(spec.width, spec.num_heads)
        self.self_attn_layer_norm = make_norm(norm, spec.width)
        self.fc1 = Linear(spec.width, spec.ffn_width)
        self.fc2 = Linear(spec.ffn_width, spec.width)
        self.final_layer_norm = make_norm(norm, spec.width)

    def before_attention(
        self, x_ND: Tensor, cos_N1F: Tensor, sin_N1F: Tensor
    ) -> tuple[Tensor, Tensor]:
        return self.self_attn.project(self.self_attn_layer_norm(x_ND), cos_N1F, sin_N1F)

    def after_attention(self, x_ND: Tensor, attended_NHE: Tensor) -> tuple[Tensor]:
        x_ND = self.self_attn.out_proj(attended_NHE.flatten(1), plus=x_ND)
        x_ND = self.fc2(self.fc1(self.final_layer_norm(x_ND), gelu=True), plus=x_ND)
        if x_ND.dtype == torch.float16:
            # An overflow becomes a large number instead of spreading; unconditional, because asking
            # whether there is one would wait for the device.
            limit = torch.finfo(x_ND.dtype).max - 1000
            x_ND = x_ND.clamp(-limit, limit)
        return (x_ND,)


def run_layers(
    layers: Iterable[nn.Module],
    x_ND: Tensor,
    pack: Pack,
    rope: Rope,
    window: tuple[int, int],
    after_layer: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """The stack's output rows. `after_layer` sees each layer's number, from 1, and its output.

    Without gradients the rows are updated in place: what `after_layer` wants to keep it copies.
    """
    cos_N1F, sin_N1F = rope.of(pack, x_ND.dtype)
    in_place = len(pack.tiles) > 1 and not torch.is_grad_enabled()
    x_ND = x_ND.clone() if in_place else x_ND
    projected: tuple[Tensor, ...] | None = None
    for number, layer in enumerate(layers, start=1):
        if not isinstance(layer, TransformerLayer):
            raise TypeError(f"layer {number} is a {type(layer).__name__}")
        projected = rowwise(
            layer.before_attention,
            pack,
            x_ND,
            cos_N1F,
            sin_N1F,
            out=projected if in_place else None,
        )
        q_NHE, k_NHE = projected[0].chunk(2, dim=1)
        attended_NHE = attend(q_NHE, k_NHE, projected[1].contiguous(), pack, window)
        (x_ND,) = rowwise(
            layer.after_attention, pack, x_ND, attended_NHE, out=[x_ND] if in_place else None
        )
        if after_layer is not None:
            after_layer(number, x_ND)
    return x_ND


def layer_probes(
    layers: nn.ModuleList, spec: StackSpec, dtype: torch.dtype, seed: torch.Generator
) -> list[Callable[[int], Tensor]]:
    """For `tiling`: the first layer's work before and after attention on copies of one row."""
    if len(layers) == 0:
        return []
    layer = layers[0]
    if not isinstance(layer, TransformerLayer):
        raise TypeError(f"layer 1 is a {type(layer).__name__}")
    row_1D, attended_1D = (torch.randn(1, spec.width, generator=seed).to(dtype) for _ in range(2))
    angles_11F = torch.randn(1, 1, spec.head_width // 2, generator=seed).to(dtype)

    def before(count: int) -> Tensor:
        rows = row_1D.expand(count, -1).contiguous()
        angles = angles_11F.expand(count, -1, -1).contiguous()
        return torch.cat(layer.before_attention(rows, angles, angles), dim=1).flatten(1)

    def after(count: int) -> Tensor:
        rows = row_1D.expand(count, -1).contiguous()
        attended = attended_1D.unflatten(1, (spec.num_heads, -1)).expand(count, -1, -1)
        return layer.after_attention(rows, attended.contiguous())[0]

    return [before, after]
