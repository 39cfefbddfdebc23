"""Mel hops to the continuous features that are quantised, 100 a second to 25."""

# Shapes: N rows of a pack, M mel bands, D width, K codebooks.

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from tokenizer.attention import Rope
from tokenizer.linear import TapConv
from tokenizer.packing import Pack, Tiling, rowwise, taps, with_zero_row
from tokenizer.quantizer import ResidualQuantizer
from tokenizer.spec import TokenizerSpec
from tokenizer.transformer import TransformerLayer, layer_probes, make_norm, run_layers


@dataclass(frozen=True, kw_only=True, slots=True)
class Features:
    """One vector per frame, packed."""

    rows: Tensor
    """`[N, D]`, the clips' frames where `pack` says."""
    pack: Pack


class Encoder(nn.Module):
    """Two convolutions, a bidirectional transformer, pooling; the quantizer lives in here too."""

    def __init__(self, spec: TokenizerSpec) -> None:
        super().__init__()
        self.spec = spec
        self.conv1 = TapConv(spec.num_mels, spec.width, 3)
        self.conv2 = TapConv(spec.width, spec.width, 3)
        self.layers = nn.ModuleList(
            TransformerLayer(spec.encoder, spec.norm) for _ in range(spec.encoder.num_layers)
        )
        self.layer_norm = make_norm(spec.norm, spec.width)
        # A list of one, because the published key is `down_sample_layer.0.weight`.
        self.down_sample_layer = nn.ModuleList(
            [TapConv(spec.width, spec.width, spec.pool, bias=False)]
        )
        self.down_sample_norm = make_norm(spec.norm, spec.width)
        self.quantizer = ResidualQuantizer(spec.codebook_sizes, spec.width)
        self.rope = Rope(spec.encoder.head_width, spec.rope_theta)

    @property
    def dtype(self) -> torch.dtype:
        return self.conv1.weight.dtype

    def forward(
        self,
        mels: Sequence[Tensor],
        *,
        tiling: Tiling | None = None,
        as_padded_batch: bool = False,
    ) -> Features:
        """Features of each clip's hops `[F, M]`: its own, whatever it is packed with.

        `as_padded_batch` instead gives what one zero-padded batch of these clips gives in the
        published model, where two things reach a shorter clip from beyond its end. The first
        convolution turns the padding's first hop into a value that the second one reads when the
        number of hops is odd. And a last row without a partner is pooled with a copy of itself,
        not with zeros.
        """
        spec, device = self.spec, mels[0].device
        hop_counts = [mel.shape[0] for mel in mels]
        row_counts = [spec.num_stem_rows(count) for count in hop_counts]
        frame_counts = [spec.num_frames(count) for count in hop_counts]
        longest_hops, longest_rows = max(hop_counts), max(row_counts)
        extra_hop = [int(as_padded_batch and count < longest_hops) for count in hop_counts]
        copied = [as_padded_batch and count < longest_rows for count in row_counts]

        source = Pack.of(hop_counts, device, tiling)
        hops = Pack.of(
            [count + extra for count, extra in zip(hop_counts, extra_hop, strict=True)],
            device,
            tiling,
        )
        rows = Pack.of(row_counts, device, tiling)
        frames = Pack.of(frame_counts, device, tiling)

        mel_NM = with_zero_row(source.gather([mel.to(self.dtype) for mel in mels]))
        plan = taps(source, hops, stride=1, width=3, first=-1)
        (x_ND,) = rowwise(lambda plan: (self.conv1(mel_NM, plan),), hops, plan)
        hops_ND = with_zero_row(x_ND)
        plan = taps(hops, rows, stride=spec.stem_stride, width=3, first=-1)
        (x_ND,) = rowwise(lambda plan: (self.conv2(hops_ND, plan),), rows, plan)

        x_ND = self._transform(x_ND, rows)

        rows_ND = with_zero_row(x_ND)
        plan = taps(rows, frames, stride=spec.pool, width=spec.pool, first=0, repeat_last=copied)
        (x_ND,) = rowwise(lambda plan: self._pool(rows_ND, plan), frames, plan)
        return Features(rows=x_ND, pack=frames)

    def codes(self, features: Features, num_codebooks: int) -> list[Tensor]:
        """Codes `[T, K]` of each clip."""
        (codes_NK,) = rowwise(
            lambda rows: (self.quantizer.encode(rows, num_codebooks),),
            features.pack,
            features.rows,
        )
        return [
            features.pack.of_clip(codes_NK, index) for index in range(len(features.pack.lengths))
        ]

    def row_probes(self) -> list[Callable[[int], Tensor]]:
        """For `tiling`: each makes so many copies of one row and does one kind of row-wise work."""
        spec, seed = self.spec, torch.Generator().manual_seed(0)

        def conv(part: TapConv, num_inputs: int, width: int) -> Callable[[int], Tensor]:
            rows = torch.randn(width, num_inputs, generator=seed).to(self.dtype)
            return lambda count: part(rows, torch.arange(width).expand(count, -1))

        row = torch.randn(1, spec.width, generator=seed)
        return [
            conv(self.conv1, spec.num_mels, 3),
            conv(self.conv2, spec.width, 3),
            *layer_probes(self.layers, spec.encoder, self.dtype, seed),
            conv(self._pooling, spec.width, spec.pool),
            *(
                lambda count, book=book: book.closeness(row.expand(count, -1).contiguous())
                for book in {book.size: book for book in self.quantizer.codebooks}.values()
            ),
        ]

    def _transform(self, x_ND: Tensor, rows: Pack) -> Tensor:
        kept: list[Tensor] = []

        def keep_skip(number: int, output_ND: Tensor) -> None:
            if number == self.spec.skip_layer:
                kept.append(output_ND.clone())

        x_ND = run_layers(
            self.layers, x_ND, rows, self.rope, self.spec.encoder.window, after_layer=keep_skip
        )
        if kept:
            x_ND = x_ND + kept[0]
        (x_ND,) = rowwise(lambda part: (self.layer_norm(part),), rows, x_ND)
        return x_ND

    @property
    def _pooling(self) -> TapConv:
        return cast(TapConv, self.down_sample_layer[0])

    def _pool(self, rows_ND: Tensor, plan: Tensor) -> tuple[Tensor]:
        return (self.down_sample_norm(self._pooling(rows_ND, plan)),)
