"""Reconstruction loss: how far two waveforms are apart in log-mel spectra of three resolutions.

Bands, windows and hops are those of the MiMo-Audio report, stage 1: 2^i bands, a window of
15 * 2^(i-1) samples and a hop of 15 * 2^(i-2), for i = 5, 6, 7, on a normalised STFT.
"""

# Shapes: B clips, S samples, F frames, N FFT bins, M mel bands.

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torchaudio
from torch import Tensor, nn

from schemas.errors import TokenizerError

FLOOR = 1e-5


@dataclass(frozen=True, kw_only=True, slots=True)
class MelScale:
    """One resolution of the loss."""

    num_bands: int
    window_samples: int
    hop_samples: int

    @property
    def fft_samples(self) -> int:
        """The next power of two from twice the window; the window stands zero-padded in it.

        At 24 kHz the lowest mel triangles are about as narrow as the bins of an FFT of the
        window's own length, so some would fall between two bins and weigh nothing. With the bins
        at most half as wide every triangle holds some.
        """
        return 1 << (2 * self.window_samples - 1).bit_length()


def mel_scale(i: int) -> MelScale:
    """The report's scale `i`."""
    return MelScale(num_bands=2**i, window_samples=15 * 2 ** (i - 1), hop_samples=15 * 2 ** (i - 2))


class MultiScaleMelLoss(nn.Module):
    """Mean over the scales of the mean `|log mel(reconstructed) - log mel(target)|`.

    Magnitudes, HTK triangles without area normalisation, natural logarithm above `FLOOR`. A
    magnitude below the floor has no gradient. Always float32, inside `torch.autocast` too.
    """

    def __init__(self, sample_rate_hz: int, scales: Sequence[int] = (5, 6, 7)) -> None:
        super().__init__()
        self.scales = tuple(mel_scale(i) for i in scales)
        for index, scale in enumerate(self.scales):
            bands_NM = torchaudio.functional.melscale_fbanks(
                n_freqs=scale.fft_samples // 2 + 1,
                f_min=0.0,
                f_max=sample_rate_hz / 2,
                n_mels=scale.num_bands,
                sample_rate=sample_rate_hz,
            )
            window = torch.hann_window(scale.window_samples)
            self.register_buffer(f"bands_{index}", bands_NM, persistent=False)
            self.register_buffer(f"window_{index}", window, persistent=False)

    def forward(
        self, reconstructed_BS: Tensor, target_BS: Tensor, valid_samples: Tensor | None = None
    ) -> Tensor:
        """Scalar loss, 0 or more. The gradient goes to `reconstructed_BS` only.

        `valid_samples` is int64 `[B]`, each 1 to S: what follows them in a clip is taken for
        silence and its frames are left out, so that a padded clip counts as it does alone. Every
        frame of the batch has the same weight.

        Raises `TokenizerError` for shapes that do not fit each other.
        """
        if reconstructed_BS.shape != target_BS.shape or target_BS.ndim != 2:
            raise TokenizerError(
                f"mel loss: found shapes {tuple(reconstructed_BS.shape)} and "
                f"{tuple(target_BS.shape)}, wanted two equal ones [clips, samples]"
            )
        num_clips, num_samples = target_BS.shape
        if valid_samples is None:
            valid_samples = torch.full((num_clips,), num_samples, device=target_BS.device)
        elif valid_samples.shape != (num_clips,):
            raise TokenizerError(
                f"mel loss: valid_samples has shape {tuple(valid_samples.shape)}, "
                f"wanted one number for each of {num_clips} clips"
            )
        valid_B = valid_samples.to(target_BS.device)
        with torch.autocast(target_BS.device.type, enabled=False):
            is_valid_BS = torch.arange(num_samples, device=valid_B.device) < valid_B[:, None]
            reconstructed_BS = reconstructed_BS.float() * is_valid_BS
            target_BS = target_BS.detach().float() * is_valid_BS
            losses = [
                self._distance(index, reconstructed_BS, target_BS, valid_B)
                for index in range(len(self.scales))
            ]
            return torch.stack(losses).mean()

    def _distance(
        self, index: int, reconstructed_BS: Tensor, target_BS: Tensor, valid_B: Tensor
    ) -> Tensor:
        apart_BFM = self._log_mel(index, reconstructed_BS) - self._log_mel(index, target_BS)
        num_frames_B = 1 + valid_B // self.scales[index].hop_samples
        frames = torch.arange(apart_BFM.shape[1], device=valid_B.device)
        is_counted_BF = frames < num_frames_B[:, None]
        total = (apart_BFM.abs().mean(dim=-1) * is_counted_BF).sum()
        return total / is_counted_BF.sum()

    def _log_mel(self, index: int, waveform_BS: Tensor) -> Tensor:
        """`[B, F, M]` with `F = 1 + S // hop`; a frame stands around its sample, between zeros."""
        scale = self.scales[index]
        spectrum_BNF = torch.stft(
            waveform_BS,
            scale.fft_samples,
            scale.hop_samples,
            scale.window_samples,
            self.get_buffer(f"window_{index}"),
            center=True,
            # Zeros, not a reflection: the end of a clip then looks the same with padding behind it.
            pad_mode="constant",
            normalized=True,
            return_complex=True,
        )
        mel_BFM = spectrum_BNF.abs().transpose(1, 2) @ self.get_buffer(f"bands_{index}")
        return mel_BFM.clamp(min=FLOOR).log()
