"""Networks that tell recordings from reconstructions: by period, and by STFT.

Structure of the sub-discriminators after HiFi-GAN (Kong et al. 2020) and EnCodec (Defossez et al.
2022), with spectral norm on every convolution as in the MiMo-Audio report. They read waveforms
`[B, S]` of any length, without padding, for every sample counts, and answer with one `Judgement`
for each sub-discriminator. A clip's judgement is its own; a wrong shape is a `TokenizerError`.
"""

# Shapes: B clips, S samples, C channels, P samples of a period, L periods, F frames, N FFT bins.

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from schemas.errors import TokenizerError
from tokenizer.training.spectral_conv import spectral_conv

PERIODS = (2, 3, 5, 7, 11)
FFT_SIZES = (2048, 1024, 512)
CHANNELS = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What one sub-discriminator says of a batch."""

    score: Tensor
    """Logits `[B, 1, ...]`, one for each place it looks at: above 0 is for a recording."""
    features: list[Tensor]
    """Activations `[B, C, ...]` of its inner layers, first to last."""


class MultiPeriodDiscriminator(nn.Module):
    """One stack for each period, which sees every P-th sample side by side."""

    def __init__(self, periods: Sequence[int] = PERIODS, channels: int = CHANNELS) -> None:
        super().__init__()
        self.periods = tuple(periods)
        self.stacks = nn.ModuleList(_period_stack(channels) for _ in self.periods)

    def forward(self, waveform_BS: Tensor) -> list[Judgement]:
        waveform_BS = _float32(waveform_BS)
        return [
            stack(_folded(waveform_BS, period))
            for period, stack in zip(self.periods, self.stacks, strict=True)
        ]


class MultiScaleStftDiscriminator(nn.Module):
    """One stack for each FFT size, which sees real and imaginary parts as two channels.

    Hann windows as long as the FFT, a hop of a quarter of it. Whole frames only; a waveform
    shorter than one is filled up with zeros.
    """

    def __init__(self, fft_sizes: Sequence[int] = FFT_SIZES, channels: int = CHANNELS) -> None:
        super().__init__()
        self.fft_sizes = tuple(fft_sizes)
        self.stacks = nn.ModuleList(_stft_stack(channels) for _ in self.fft_sizes)
        for size in self.fft_sizes:
            self.register_buffer(f"window_{size}", torch.hann_window(size), persistent=False)

    def forward(self, waveform_BS: Tensor) -> list[Judgement]:
        waveform_BS = _float32(waveform_BS)
        return [
            stack(self._spectrum(waveform_BS, size))
            for size, stack in zip(self.fft_sizes, self.stacks, strict=True)
        ]

    def _spectrum(self, waveform_BS: Tensor, size: int) -> Tensor:
        """`[B, 2, F, N]` in float32, whatever the precision around it."""
        missing = max(0, size - waveform_BS.shape[1])
        with torch.autocast(waveform_BS.device.type, enabled=False):
            spectrum_BNF = torch.stft(
                functional.pad(waveform_BS, (0, missing)),
                size,
                size // 4,
                window=self.get_buffer(f"window_{size}"),
                center=False,
                normalized=True,
                return_complex=True,
            )
            return torch.view_as_real(spectrum_BNF).permute(0, 3, 2, 1)


class _Stack(nn.Module):
    """Convolutions with leaky ReLUs between them; the last one gives the score."""

    def __init__(self, convs: Sequence[nn.Conv2d], slope: float) -> None:
        super().__init__()
        *inner, last = convs
        self.inner = nn.ModuleList(inner)
        self.last = last
        self.slope = slope

    def forward(self, x: Tensor) -> Judgement:
        features = []
        for conv in self.inner:
            x = functional.leaky_relu(conv(x), self.slope)
            features.append(x)
        return Judgement(score=self.last(x), features=features)


def _period_stack(channels: int) -> _Stack:
    """HiFi-GAN: kernels of 5 periods, four of stride 3; 1, 4, 16, 32, 32 times the channels."""
    widths = (1, channels, 4 * channels, 16 * channels, 32 * channels)
    return _Stack(
        [
            *(spectral_conv(a, b, (5, 1), stride=(3, 1)) for a, b in pairwise(widths)),
            spectral_conv(widths[-1], widths[-1], (5, 1)),
            spectral_conv(widths[-1], 1, (3, 1)),
        ],
        slope=0.1,
    )


def _stft_stack(channels: int) -> _Stack:
    """EnCodec: time by frequency, dilated by 1, 2, 4 in time with stride 2 in frequency.

    Kernels are 3 by 9: the paper's 3 by 8 has no centre.
    """
    return _Stack(
        [
            spectral_conv(2, channels, (3, 9)),
            *(
                spectral_conv(channels, channels, (3, 9), stride=(1, 2), dilation=(frames, 1))
                for frames in (1, 2, 4)
            ),
            spectral_conv(channels, channels, (3, 3)),
            spectral_conv(channels, 1, (3, 3)),
        ],
        slope=0.2,
    )


def _folded(waveform_BS: Tensor, period: int) -> Tensor:
    """`[B, 1, L, P]`: rows of one period each, the last one filled up with zeros."""
    filled_BS = functional.pad(waveform_BS, (0, -waveform_BS.shape[1] % period))
    return filled_BS.unflatten(1, (-1, period)).unsqueeze(1)


def _float32(waveform_BS: Tensor) -> Tensor:
    if waveform_BS.ndim != 2 or waveform_BS.shape[1] == 0:
        raise TokenizerError(
            f"discriminators: waveforms have the shape {tuple(waveform_BS.shape)}, "
            "wanted [clips, samples] with at least 1 sample"
        )
    return waveform_BS.float()
