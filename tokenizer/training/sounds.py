"""Sounds to listen to."""

import wave
from pathlib import Path

from torch import Tensor


def write_wav(path: Path, waveform_S: Tensor, sample_rate_hz: int) -> None:
    """Mono 16-bit WAV; samples beyond full scale are clipped."""
    pcm = (waveform_S.clamp(-1.0, 1.0) * 32767).short().cpu().numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes(pcm.astype("<i2").tobytes())
