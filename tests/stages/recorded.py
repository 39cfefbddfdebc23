"""Segments cut out of recordings, real speech where this machine has it, and seeded stand-ins."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.codes import Waveform
from schemas.ids import segment_id
from stages.audio import Audio
from stages.base import Recording, Segment
from stages.resample import resample

RATE_HZ = 24_000
SHARED_AUDIO = Path(__file__).resolve().parents[2].parent / "shared" / "audio"


def segment_of(
    samples: Waveform,
    *,
    start_sample: int = 0,
    end_sample: int | None = None,
    **recording_values: Any,
) -> Segment:
    """A segment of a 24-kHz recording; the whole of it where no span is given."""
    end = len(samples) if end_sample is None else end_sample
    audio = Audio(samples.astype(np.float32), RATE_HZ)
    recording = Recording("source", "recording", "uri", {"audio": audio, **recording_values})
    identity = segment_id("recording", start_sample, end)
    return Segment(identity, start_sample, end, "A", {}, recording)


def spoken(text: str, voice: str = "rms") -> Waveform:
    """`text` in a flite voice, at 24 kHz; skips the test where flite is not installed."""
    flite = shutil.which("flite")
    if flite is None:
        pytest.skip("flite is not installed")
    command = [flite, "-voice", voice, "-t", text, "-o", "/dev/stdout"]
    wav = subprocess.run(command, check=True, capture_output=True).stdout
    samples = (np.frombuffer(wav[44:], np.int16) / 32768).astype(np.float32)
    return resample(samples, int.from_bytes(wav[24:28], "little"), RATE_HZ)


def shared_recording(path: str) -> Waveform:
    """A recording of the shared collection as 24-kHz mono; skips where there is none."""
    if not (SHARED_AUDIO / path).is_file():
        pytest.skip("the shared collection of recordings is not here")
    import av

    with av.open(str(SHARED_AUDIO / path)) as container:
        resampler = av.AudioResampler(format="fltp", layout="mono")
        rate_hz = container.streams.audio[0].rate
        frames = [f for frame in container.decode(audio=0) for f in resampler.resample(frame)]
    samples = np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float32)
    return resample(samples, rate_hz, RATE_HZ)


def speech_like(seconds: float, seed: int = 0, rate_hz: int = RATE_HZ) -> Waveform:
    """Harmonic syllables with pauses, about -26 dBFS: no words, but the dynamics of speech."""
    rng = np.random.default_rng(seed)
    out = np.zeros(round(seconds * rate_hz))
    position = 0.3
    while position < seconds - 0.3:
        length = rng.uniform(0.12, 0.3)
        t = np.arange(round(length * rate_hz)) / rate_hz
        pitch_hz = rng.uniform(100, 220) * (1 - 0.15 * t / length)
        phase = 2 * np.pi * np.cumsum(pitch_hz) / rate_hz
        formants_hz = rng.uniform((300, 900, 2200), (800, 2200, 3200))
        syllable = np.zeros_like(t)
        for harmonic in range(1, 50):
            distance = (np.log2(harmonic * pitch_hz.mean() / formants_hz) / 0.4) ** 2
            level = np.exp(-distance).sum() / harmonic**0.5 + 0.02 / harmonic**0.5
            syllable += level * np.sin(harmonic * phase + rng.uniform(0, 2 * np.pi))
        # Consonant-like hiss, so that there is energy up to the top of the band.
        syllable += 0.05 * rng.standard_normal(len(t))
        envelope = np.sin(np.pi * np.arange(len(t)) / len(t)) ** 0.7
        start = round(position * rate_hz)
        piece = (syllable * envelope * rng.uniform(0.5, 1.0))[: len(out) - start]
        out[start : start + len(piece)] += piece
        position += length + (rng.uniform(0.25, 0.6) if rng.random() < 0.25 else 0.03)
    scale = 0.05 / max(float(np.sqrt(np.mean(out**2))), 1e-9)
    return np.clip(out * scale, -1, 1).astype(np.float32)
