"""The peer of `benchmarks.tokenizer`: one file at a time, every codebook, ordinary products.

The published tokenizer's way of encoding, on the same weights: convolutions on a padded sequence of
one, attention by SDPA, distances with both squared norms through all codebooks.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tokenizer.mel import LogMel
from tokenizer.model import TokenizerModel


class OneByOne:
    """Encodes with the weights of a float32 `TokenizerModel` on the CPU, and none of its code."""

    def __init__(self, model: TokenizerModel) -> None:
        self._spec = model.spec
        self._weights = model.state_dict()
        self._mel = LogMel(model.spec)

    @torch.inference_mode()
    def __call__(self, waveform: Tensor) -> Tensor:
        """Codes `[frames, codebooks]` of all codebooks."""
        spec = self._spec
        x = self._mel(waveform).T.unsqueeze(0)
        x = functional.gelu(self._conv("encoder.conv1", x, padding=1))
        x = functional.gelu(self._conv("encoder.conv2", x, stride=spec.stem_stride, padding=1))
        x = x[0].T.contiguous()
        rotation = self._rotation(x.shape[0])
        skipped = torch.zeros_like(x)
        for index in range(spec.encoder.num_layers):
            x = self._layer(f"encoder.layers.{index}", x, rotation)
            if index + 1 == spec.skip_layer:
                skipped = x
        x = self._norm("encoder.layer_norm", x + skipped)
        x = functional.pad(x, (0, 0, 0, -x.shape[0] % spec.pool))
        x = self._conv("encoder.down_sample_layer.0", x.T.unsqueeze(0), stride=spec.pool)
        x = self._norm("encoder.down_sample_norm", functional.gelu(x)[0].T)
        return self._quantize(x)

    def all(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """Codes of each, one after another."""
        return [self(waveform) for waveform in waveforms]

    def _layer(self, name: str, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        heads = self._spec.encoder.num_heads
        normed = self._norm(f"{name}.self_attn_layer_norm", x)
        q, k, v = (
            self._linear(f"{name}.self_attn.{part}_proj", normed).view(len(x), heads, -1)
            for part in ("q", "k", "v")
        )
        q, k = self._rotate(q, rotation), self._rotate(k, rotation)
        attended = functional.scaled_dot_product_attention(
            q.transpose(0, 1)[None], k.transpose(0, 1)[None], v.transpose(0, 1)[None]
        )
        joined = attended[0].transpose(0, 1).reshape(len(x), -1)
        x = x + self._linear(f"{name}.self_attn.out_proj", joined)
        hidden = self._linear(f"{name}.fc1", self._norm(f"{name}.final_layer_norm", x))
        return x + self._linear(f"{name}.fc2", functional.gelu(hidden))

    def _quantize(self, rest: Tensor) -> Tensor:
        codes = []
        for level in range(self._spec.num_codebooks):
            embed = self._weights[f"encoder.quantizer.vq.layers.{level}._codebook.embed"]
            squared = (
                rest.square().sum(dim=1, keepdim=True)
                - 2 * rest @ embed.T
                + embed.square().sum(dim=1)
            )
            chosen = squared.argmin(dim=1)
            rest = rest - embed[chosen]
            codes.append(chosen)
        return torch.stack(codes, dim=1)

    def _rotation(self, length: int) -> tuple[Tensor, Tensor]:
        width = self._spec.encoder.head_width
        frequencies = self._spec.rope_theta ** (-torch.arange(0, width, 2) / width)
        angles = torch.outer(torch.arange(length).float(), frequencies).repeat(1, 2)
        return angles.cos().unsqueeze(1), angles.sin().unsqueeze(1)

    def _rotate(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        left, right = x.chunk(2, dim=-1)
        return x * rotation[0] + torch.cat([-right, left], dim=-1) * rotation[1]

    def _conv(self, name: str, x: Tensor, *, stride: int = 1, padding: int = 0) -> Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights.get(f"{name}.bias")
        return functional.conv1d(x, weight, bias, stride=stride, padding=padding)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return functional.linear(
            x, self._weights[f"{name}.weight"], self._weights.get(f"{name}.bias")
        )

    def _norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return functional.layer_norm(x, weight.shape, weight, bias)


def fill(model: TokenizerModel, seed: int) -> None:
    """Random weights under which activations neither vanish nor grow, on the model's device."""
    device = model.encoder.conv1.weight.device
    random = torch.Generator(device).manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, parameter[0].numel() ** -0.5, generator=random)
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
        for level, book in enumerate(model.encoder.quantizer.codebooks):
            nn.init.normal_(book.embed, 0.0, 0.8**level, generator=random)
