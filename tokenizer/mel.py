"""Log-mel hops of a 24 kHz waveform: what the encoder reads, 100 of them a second.

Magnitude STFT (periodic Hann, centred, reflect padding), HTK triangles without area normalisation,
natural logarithm above a floor of 1e-7. Silence is -16.118 everywhere.
"""

# Shapes: S samples, F hops, B FFT bins, M mel bands.

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from tokenizer.spec import TokenizerSpec

FLOOR = 1e-7
_ROWS_PER_PRODUCT = 64
_ROWS_PER_FFT = 65_536  # bounds the spectrum in memory to about 500 MB


class LogMel:
    """The mel front end of one spec. Waveforms stay as they are: no gain, dither or trimming."""

    def __init__(self, spec: TokenizerSpec) -> None:
        self.spec = spec
        self._on: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}

    def __call__(self, waveform_S: Tensor) -> Tensor:
        """Hops `[F, M]` of one waveform of more than `fft_samples / 2`: `F = 1 + S // hop`."""
        spec = self.spec
        window, bands_BM = self._constants(waveform_S.device, waveform_S.dtype)
        spectrum_BF = torch.stft(
            waveform_S,
            spec.fft_samples,
            spec.hop_samples,
            spec.window_samples,
            window,
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )
        num_hops = spectrum_BF.shape[1]
        # A product of a few rows has other bits on one thread than on two; filled up, it has not.
        magnitude_BF = functional.pad(spectrum_BF.abs(), (0, -num_hops % _ROWS_PER_PRODUCT))
        return (magnitude_BF.T @ bands_BM)[:num_hops].clamp_(min=FLOOR).log_()

    def packed(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """The same hops for many waveforms of one device in a few large calls: made for a GPU.

        Sums run in another order than one by one, so the last bits may differ.
        """
        spec = self.spec
        window, bands_BM = self._constants(waveforms[0].device, waveforms[0].dtype)
        window = _centred(window, spec.fft_samples)
        half, hop = spec.fft_samples // 2, spec.hop_samples
        # Each padded waveform starts at a multiple of the hop, so one strided view holds all hops.
        pieces, counts, slots = [], [], []
        for waveform in waveforms:
            padded = functional.pad(waveform[None], (half, half), mode="reflect")[0]
            slot = -(-padded.shape[0] // hop)
            pieces.append(functional.pad(padded, (0, slot * hop - padded.shape[0])))
            counts.append(1 + waveform.shape[0] // hop)
            slots.append(slot)
        joined = functional.pad(torch.cat(pieces), (0, spec.fft_samples))
        frames = joined.unfold(0, spec.fft_samples, hop)
        hops = []
        for first in range(0, sum(slots), _ROWS_PER_FFT):
            block = frames[first : min(first + _ROWS_PER_FFT, sum(slots))] * window
            magnitude = torch.fft.rfft(block).abs()
            hops.append((magnitude @ bands_BM).clamp_(min=FLOOR).log_())
        rows = torch.cat(hops)
        return [part[:count] for part, count in zip(rows.split(slots), counts, strict=True)]

    def _constants(self, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        if (device, dtype) not in self._on:
            window = torch.hann_window(self.spec.window_samples, periodic=True, dtype=dtype)
            self._on[device, dtype] = window.to(device), mel_bands(self.spec, dtype).to(device)
        return self._on[device, dtype]


def mel_bands(spec: TokenizerSpec, dtype: torch.dtype = torch.float32) -> Tensor:
    """Weights of each FFT bin in each mel triangle, `[B, M]`."""

    def to_mel(hz: float) -> float:
        return float(2595.0 * torch.log10(torch.tensor(1.0 + hz / 700.0, dtype=torch.float64)))

    bins_hz = torch.linspace(0, spec.sample_rate_hz // 2, spec.fft_samples // 2 + 1, dtype=dtype)
    points_mel = torch.linspace(
        to_mel(spec.min_hz), to_mel(spec.max_hz), spec.num_mels + 2, dtype=dtype
    )
    points_hz = 700.0 * (10.0 ** (points_mel / 2595.0) - 1.0)
    widths_hz = points_hz[1:] - points_hz[:-1]
    offsets = points_hz[None, :] - bins_hz[:, None]
    falling = -offsets[:, :-2] / widths_hz[:-1]
    rising = offsets[:, 2:] / widths_hz[1:]
    return torch.minimum(falling, rising).clamp(min=0.0)


def _centred(window: Tensor, length: int) -> Tensor:
    missing = length - window.shape[0]
    return functional.pad(window, (missing // 2, missing - missing // 2))
