"""Asks a decoder to read bytes under a name."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from schemas.codes import Waveform
from schemas.errors import ItemError
from stages.decoding.contents import Contents, Limits
from stages.decoding.decoder import IsolatedDecoder
from tests.stages.media_files import sine, wav_bytes

HOSTILE = "tests.stages.decoding.hostile:read"
LIMITS = Limits(max_s=60, max_bytes=16 << 20, max_channels=4)
GOOD = wav_bytes(sine(2, 16_000), 16_000)


@contextmanager
def holding(content: bytes) -> Iterator[io.FileIO]:
    """An open file with this content, and no path."""
    with io.FileIO(os.memfd_create("file"), "w+") as file:
        file.write(content)
        file.seek(0)
        yield file


def asked(
    decoder: IsolatedDecoder, name: str, content: bytes = GOOD, wall_s: float = 120
) -> tuple[Contents, Waveform]:
    """What the decoder gives for a file of this name and content."""
    with holding(content) as file:
        return decoder.read(file, name, LIMITS, wall_s=wall_s)


def refused(
    decoder: IsolatedDecoder, name: str, content: bytes | str = b"", wall_s: float = 120
) -> ItemError:
    """The failure of a file of this name and content."""
    with pytest.raises(ItemError) as raised:
        asked(decoder, name, content.encode() if isinstance(content, str) else content, wall_s)
    return raised.value
