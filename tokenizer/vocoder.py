"""Coarse 100 Hz spectrum to samples: a small windowed transformer and an inverse STFT."""

# Shapes: N rows of a pack, L hops of one clip, B FFT bins, S samples.

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tokenizer.attention import Rope
from tokenizer.linear import Linear
from tokenizer.packing import Pack, Tiling, rowwise
from tokenizer.spec import TokenizerSpec
from tokenizer.transformer import TransformerLayer, layer_probes, make_norm, run_layers

MAX_MAGNITUDE = 100.0


class InverseStft(nn.Module):
    """Overlap-added inverse FFTs, divided by what the squared window adds up to."""

    window: Tensor

    def __init__(self, spec: TokenizerSpec) -> None:
        super().__init__()
        self.fft_samples, self.hop_samples = spec.fft_samples, spec.hop_samples
        self.padding = spec.vocoder_padding
        # Comes with the checkpoint. It spans the whole FFT, whatever the mel front end's window is.
        self.register_buffer("window", torch.empty(spec.fft_samples))

    def forward(self, spectrum_LB: Tensor) -> Tensor:
        """Samples `[S]`; with "same" padding exactly one hop of them per spectrum."""
        window = self.window.float()
        if self.padding == "center":
            return torch.istft(
                spectrum_LB.T,
                self.fft_samples,
                self.hop_samples,
                self.fft_samples,
                window,
                center=True,
            )
        pieces = torch.fft.irfft(spectrum_LB, self.fft_samples, norm="backward") * window
        envelope = self._add(window.square().expand(spectrum_LB.shape[0], -1))
        cut = (self.fft_samples - self.hop_samples) // 2
        kept = slice(cut, cut + spectrum_LB.shape[0] * self.hop_samples)
        return self._add(pieces)[kept] / envelope[kept]

    def _add(self, pieces_LW: Tensor) -> Tensor:
        total = (pieces_LW.shape[0] - 1) * self.hop_samples + self.fft_samples
        return functional.fold(
            pieces_LW.T.unsqueeze(0),
            output_size=(1, total),
            kernel_size=(1, self.fft_samples),
            stride=(1, self.hop_samples),
        ).flatten()


class SpectrumHead(nn.Module):
    """Rows to log-magnitude and phase, and to samples."""

    def __init__(self, spec: TokenizerSpec) -> None:
        super().__init__()
        self.out = Linear(spec.vocoder.width, spec.fft_samples + 2)
        self.istft = InverseStft(spec)

    def samples(self, logits_LB2: Tensor) -> Tensor:
        """Waveform `[S]` of one clip from `out`'s rows, float32 in any dtype of theirs."""
        magnitude, phase = logits_LB2.float().chunk(2, dim=-1)
        spectrum = torch.polar(magnitude.exp().clamp(max=MAX_MAGNITUDE), phase)
        waveform: Tensor = self.istft(spectrum)
        return waveform


class Vocoder(nn.Module):
    """Bidirectional transformer with a short window, then the spectrum head."""

    def __init__(self, spec: TokenizerSpec) -> None:
        super().__init__()
        self.spec = spec
        self.embeddings = Linear(spec.num_mels, spec.vocoder.width, bias=False)
        self.layers = nn.ModuleList(
            TransformerLayer(spec.vocoder, spec.norm) for _ in range(spec.vocoder.num_layers)
        )
        self.layer_norm = make_norm(spec.norm, spec.vocoder.width)
        self.head = SpectrumHead(spec)
        self.rope = Rope(spec.vocoder.head_width, spec.rope_theta)

    def forward(
        self, clips: Sequence[Tensor], padded_hops: Sequence[int], *, tiling: Tiling | None = None
    ) -> list[Tensor]:
        """Samples of each clip's hops `[L, num_mels]`, zeros following up to `padded_hops` hops.

        Those zeros make no silence: they carry the head's bias, and the clip's last samples overlap
        with it. Positions restart in each clip; the published model lets them run on, which is the
        same in exact arithmetic.
        """
        pack = Pack.of([clip.shape[0] for clip in clips], clips[0].device, tiling)
        (x_ND,) = rowwise(lambda part: (self.embeddings(part),), pack, pack.gather(clips))
        x_ND = run_layers(self.layers, x_ND, pack, self.rope, self.spec.vocoder.window)
        (x_ND,) = rowwise(lambda part: (self.layer_norm(part),), pack, x_ND)
        waveforms = []
        for index, hops in enumerate(padded_hops):
            rows = pack.of_clip(x_ND, index)
            rows = functional.pad(rows, (0, 0, 0, hops - rows.shape[0]))
            waveforms.append(self.head.samples(self.head.out(rows)))
        return waveforms

    def row_probes(
        self, dtype: torch.dtype, seed: torch.Generator
    ) -> list[Callable[[int], Tensor]]:
        """For `tiling`, as in the encoder."""
        row = torch.randn(1, self.spec.num_mels, generator=seed).to(dtype)
        return [
            lambda count: self.embeddings(row.expand(count, -1).contiguous()),
            *layer_probes(self.layers, self.spec.vocoder, dtype, seed),
        ]
