"""Speaker similarity with the GE2E encoder whose weights the package `resemblyzer` carries.

Only the weights are taken: importing the package brings librosa and compiles for seconds. The mel
front end and the windows are the package's, so the embeddings are too.
"""

# Shapes: H hops, M mel bands, W windows, D embedding width.

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks, resample

from schemas.codes import Waveform
from schemas.errors import EngineMissingError

ENCODER_NAME = "GE2E LSTM of resemblyzer 0.1.4"
RATE_HZ = 16_000
_HOP_SAMPLES = 160
_FFT_SAMPLES = 400
_NUM_MELS = 40
_WIDTH = 256
_WINDOW_HOPS = 160
_STEP_HOPS = 77
"""1.3 windows a second, the package's rate for an utterance."""
_MIN_COVERAGE = 0.75
"""Share of the last window that must hold sound, or it is left out."""
_LEVEL_DBFS = -30.0
"""The level of the encoder's training data; its mel is not logarithmic."""
_BATCH = 64


class SpeakerEncoder:
    """Opened encoder, on the CPU. Raises `EngineMissingError` where its weights are not here."""

    def __init__(self) -> None:
        weights = torch.load(_weights_path(), map_location="cpu", weights_only=True)["model_state"]
        self._lstm = nn.LSTM(_NUM_MELS, _WIDTH, 3, batch_first=True).eval()
        self._linear = nn.Linear(_WIDTH, _WIDTH).eval()
        parts: dict[str, nn.Module] = {"lstm.": self._lstm, "linear.": self._linear}
        for name, module in parts.items():
            module.load_state_dict(
                {k.removeprefix(name): v for k, v in weights.items() if k.startswith(name)}
            )
        self._bands = melscale_fbanks(
            _FFT_SAMPLES // 2 + 1, 0, RATE_HZ / 2, _NUM_MELS, RATE_HZ, "slaney", "slaney"
        )
        self._hann = torch.hann_window(_FFT_SAMPLES)

    def similarity(self, one: Waveform, other: Waveform, rate_hz: int) -> float:
        """Cosine of two clips' embeddings, 0 to 1 (entries are never negative)."""
        return float(np.clip(self.embed(one, rate_hz) @ self.embed(other, rate_hz), 0.0, 1.0))

    @torch.inference_mode()
    def embed(self, samples: Waveform, rate_hz: int) -> Waveform:
        """Unit embedding `[256]` of a clip: the mean of its 1.6-s windows. Zeros for silence."""
        sound = resample(torch.from_numpy(np.array(samples)), rate_hz, RATE_HZ)
        power = float((sound.double() ** 2).mean())
        if power == 0.0:
            return np.zeros(_WIDTH, np.float32)
        sound = sound * (10 ** (_LEVEL_DBFS / 20) / power**0.5)
        starts = _window_starts(sound.shape[0])
        needed = (starts[-1] + _WINDOW_HOPS) * _HOP_SAMPLES
        mel_HM = self._mel(nn.functional.pad(sound, (0, max(0, needed - sound.shape[0]))))
        windows_WHM = torch.stack([mel_HM[start : start + _WINDOW_HOPS] for start in starts])
        parts = []
        for batch in windows_WHM.split(_BATCH):
            _, (hidden, _) = self._lstm(batch)
            parts.append(nn.functional.normalize(torch.relu(self._linear(hidden[-1])), dim=1))
        mean_D: Waveform = nn.functional.normalize(torch.cat(parts).mean(dim=0), dim=0).numpy()
        return mean_D

    def _mel(self, sound: Tensor) -> Tensor:
        spectrum = torch.stft(
            sound,
            _FFT_SAMPLES,
            _HOP_SAMPLES,
            window=self._hann,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        return (spectrum.abs() ** 2).T @ self._bands


def _window_starts(num_samples: int) -> list[int]:
    """First hops of the windows; a last one that is mostly padding is left out."""
    num_hops = -(-(num_samples + 1) // _HOP_SAMPLES)
    steps = max(1, num_hops - _WINDOW_HOPS + _STEP_HOPS + 1)
    starts = list(range(0, steps, _STEP_HOPS))
    covered = num_samples / _HOP_SAMPLES - starts[-1]
    if len(starts) > 1 and covered < _MIN_COVERAGE * _WINDOW_HOPS:
        starts.pop()
    return starts


def _weights_path() -> Path:
    spec = find_spec("resemblyzer")
    path = Path(spec.origin).parent / "pretrained.pt" if spec and spec.origin else None
    if path is None or not path.is_file():
        raise EngineMissingError(
            "tokenizer.evaluation: speaker similarity needs the weights in the package "
            "'resemblyzer'; install resemblyzer==0.1.4"
        )
    return path
