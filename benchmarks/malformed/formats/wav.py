"""WAV and its relatives, field by field, so that any field may lie."""

import struct
from typing import Any

import numpy as np

from benchmarks.malformed.voice import Samples, voice

PCM, IEEE_FLOAT, IMA_ADPCM, MP3 = 1, 3, 0x11, 0x55
UNKNOWN_SIZE = 0xFFFFFFFF


def chunk(name: bytes, data: bytes, *, stated: int | None = None, padded: bool = True) -> bytes:
    """A RIFF chunk; `stated` is the length that its header claims."""
    size = len(data) if stated is None else stated
    pad = b"\0" if padded and len(data) % 2 else b""
    return name + struct.pack("<I", size) + data + pad


def fmt(
    *,
    tag: int = PCM,
    channels: int = 1,
    rate_hz: int = 16_000,
    bits: int = 16,
    block: int | None = None,
    byte_rate: int | None = None,
    extra: bytes = b"",
) -> bytes:
    """The chunk that says what the samples are.

    `block` is the bytes of one moment, `byte_rate` those of a second; none: what they should be.
    """
    if block is None:
        block = channels * bits // 8
    if byte_rate is None:
        byte_rate = rate_hz * block
    head = struct.pack(
        "<HHIIHH", tag, channels, rate_hz, byte_rate & UNKNOWN_SIZE, block & 0xFFFF, bits
    )
    return chunk(b"fmt ", head + (struct.pack("<H", len(extra)) + extra if extra else b""))


def riff(*chunks: bytes, name: bytes = b"RIFF") -> bytes:
    """A whole file of chunks."""
    body = b"WAVE" + b"".join(chunks)
    size = UNKNOWN_SIZE if name == b"RF64" else min(len(body), UNKNOWN_SIZE)
    return name + struct.pack("<I", size) + body


def pcm16(samples: Samples | None = None) -> bytes:
    """Samples `[num_samples]` or `[channels, num_samples]` as 16-bit data; the voice if none."""
    planes = np.atleast_2d(voice() if samples is None else samples)
    return (planes.T * 32767).round().astype("<i2").tobytes()


def simple(data: bytes | None = None, **fields: Any) -> bytes:
    """A file of 16-bit data (the voice if none) with a header of these fields."""
    return riff(fmt(**fields), chunk(b"data", pcm16() if data is None else data))


def with_stated_size(size: int) -> bytes:
    """The voice in a data chunk that claims `size` bytes."""
    return riff(fmt(), chunk(b"data", pcm16(), stated=size))


def floats(samples: Samples, rate_hz: int = 16_000) -> bytes:
    """32-bit floats; what is no number stays none, what is too large becomes infinite."""
    with np.errstate(over="ignore"):
        data = np.atleast_2d(samples).T.astype("<f4").tobytes()
    channels = np.atleast_2d(samples).shape[0]
    return simple(data, tag=IEEE_FLOAT, channels=channels, rate_hz=rate_hz, bits=32)


def rf64(stated: int) -> bytes:
    """The voice as RF64, whose ds64 chunk claims `stated` bytes of samples."""
    num_samples = stated // 2
    sizes = struct.pack("<QQQI", stated + 80, stated, num_samples, 0)
    data = chunk(b"data", pcm16(), stated=UNKNOWN_SIZE)
    return riff(chunk(b"ds64", sizes), fmt(), data, name=b"RF64")
