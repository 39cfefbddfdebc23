"""Frame vectors to a coarse 100 Hz spectrum, and through the vocoder to samples."""

# Shapes: N rows of a pack, L rows of one clip, D width.

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tokenizer.attention import Rope
from tokenizer.linear import TapConvTransposed
from tokenizer.packing import Pack, Tiling, rowwise
from tokenizer.spec import TokenizerSpec
from tokenizer.transformer import TransformerLayer, layer_probes, make_norm, run_layers
from tokenizer.vocoder import Vocoder


class Upsample(nn.Module):
    """Transposed convolution, then one norm over all channels and all time of the clip.

    The norm is taken before the surplus on the right is cut, so it has seen it.
    """

    def __init__(self, num_inputs: int, num_outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = TapConvTransposed(num_inputs, num_outputs, kernel, stride)
        self.norm = nn.GroupNorm(1, num_outputs)

    def forward(self, x_LD: Tensor, padded_rows: int) -> Tensor:
        """`stride` rows for each row, normalised as if zeros followed up to `padded_rows` rows."""
        spread = self.conv(functional.pad(x_LD, (0, 0, 0, padded_rows - x_LD.shape[0])))
        normed = self.norm(spread.T.unsqueeze(0))[0].T
        return normed[: x_LD.shape[0] * self.conv.stride]


class Decoder(nn.Module):
    """Upsampling to 50 Hz, a causal transformer, upsampling to 100 Hz, the vocoder."""

    def __init__(self, spec: TokenizerSpec) -> None:
        super().__init__()
        self.spec = spec
        self.dconv1 = Upsample(spec.width, spec.width, spec.pool, spec.pool)
        self.layers = nn.ModuleList(
            TransformerLayer(spec.decoder, spec.norm) for _ in range(spec.decoder.num_layers)
        )
        self.layer_norm = make_norm(spec.norm, spec.width)
        self.dconv2 = Upsample(spec.width, spec.num_mels, spec.upsample_kernel, spec.stem_stride)
        self.vocoder = Vocoder(spec)
        self.rope = Rope(spec.decoder.head_width, spec.rope_theta)

    @property
    def dtype(self) -> torch.dtype:
        return self.dconv1.conv.weight.dtype

    def forward(
        self,
        frames: Sequence[Tensor],
        *,
        tiling: Tiling | None = None,
        as_padded_batch: bool = False,
    ) -> list[Tensor]:
        """Samples of each clip's frame vectors `[T, D]`, each clip as if decoded alone.

        `as_padded_batch` gives what one zero-padded batch gives in the published model: the norms
        have seen the padding, the last samples hear it, and every clip is as long as the longest.
        """
        spec, device = self.spec, frames[0].device
        longest = max(part.shape[0] for part in frames)
        padded = [longest if as_padded_batch else part.shape[0] for part in frames]

        clips = [
            self.dconv1(part.to(self.dtype), rows)
            for part, rows in zip(frames, padded, strict=True)
        ]
        pack = Pack.of([clip.shape[0] for clip in clips], device, tiling)
        x_ND = run_layers(self.layers, pack.gather(clips), pack, self.rope, spec.decoder.window)
        (x_ND,) = rowwise(lambda part: (self.layer_norm(part),), pack, x_ND)
        clips = [
            self.dconv2(pack.of_clip(x_ND, index), rows * spec.pool)
            for index, rows in enumerate(padded)
        ]
        return self.vocoder(clips, [rows * spec.hops_per_frame for rows in padded], tiling=tiling)

    def row_probes(self) -> list[Callable[[int], Tensor]]:
        """For `tiling`: each makes so many copies of one row and does one kind of row-wise work."""
        seed = torch.Generator().manual_seed(0)
        return [
            *layer_probes(self.layers, self.spec.decoder, self.dtype, seed),
            *self.vocoder.row_probes(self.dtype, seed),
        ]
