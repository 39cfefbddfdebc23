"""Audio files made on the spot: WAV byte by byte, so that headers may lie; others by PyAV."""

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.floating]

PCM, IEEE_FLOAT = 1, 3


def wav_bytes(
    samples: Samples,
    rate_hz: int,
    *,
    as_float: bool = False,
    stated_rate_hz: int | None = None,
    stated_channels: int | None = None,
    stated_bytes: int | None = None,
) -> bytes:
    """A WAV file of samples `[num_channels, num_samples]` (or one dimension), 16 bit or float32."""
    channels = np.atleast_2d(samples)
    if as_float:
        data, bits, tag = channels.T.astype("<f4").tobytes(), 32, IEEE_FLOAT
    else:
        data, bits, tag = (channels.T * 32767).round().astype("<i2").tobytes(), 16, PCM
    rate = rate_hz if stated_rate_hz is None else stated_rate_hz
    num_channels = channels.shape[0] if stated_channels is None else stated_channels
    block = num_channels * bits // 8
    byte_rate = rate * block & 0xFFFFFFFF
    head = struct.pack("<HHIIHH", tag, num_channels, rate, byte_rate, block & 0xFFFF, bits)
    size = len(data) if stated_bytes is None else stated_bytes
    body = b"fmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", min(len(body) + 4, 0xFFFFFFFF)) + b"WAVE" + body


def encode(
    path: Path, samples: Samples, rate_hz: int, codec: str, bit_rate: int | None = None
) -> Path:
    """Samples `[num_channels, num_samples]` (or one dimension) as a file; the name decides how."""
    import av

    channels = np.atleast_2d(samples).astype(np.float32)
    layout = {1: "mono", 2: "stereo"}[channels.shape[0]]
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate_hz, layout=layout)
        if bit_rate:
            stream.bit_rate = bit_rate
        for frame in _frames(channels, rate_hz, layout):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _frames(channels: npt.NDArray[np.float32], rate_hz: int, layout: str) -> Iterator[Any]:
    import av

    for start in range(0, channels.shape[1], 1024):
        block = np.ascontiguousarray(channels[:, start : start + 1024])
        frame = av.AudioFrame.from_ndarray(block, "fltp", layout)
        frame.sample_rate = rate_hz
        frame.pts = start
        frame.time_base = Fraction(1, rate_hz)
        yield frame


def sine(seconds: float, rate_hz: int, pitch_hz: float = 440.0, level: float = 0.3) -> Samples:
    """A sine of the given peak level, shape `[num_samples]`."""
    return level * np.sin(2 * np.pi * pitch_hz * np.arange(round(seconds * rate_hz)) / rate_hz)
