"""FFmpeg's frames through PyAV, past packets that do not decode and past PyAV's own traps."""

import importlib
import io
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import av

from schemas.errors import ItemError

_PLANES_THAT_CRASH = 8
"""PyAV 18.1 counts planes up to a null pointer, and from eight on there is none: it reads one more
plane out of whatever lies behind and takes the process down. Interleaved samples are one plane."""
_MAX_ERRORS_IN_A_ROW = 50  # of the demuxer: it may stand still on damage without saying so


_NOT_FOR_DECODING = ("av.__main__", "av.datasets")


def import_all_of_pyav() -> None:
    """Imports what PyAV would import by and by: a decoder that is shut in opens no module file."""
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if module.name not in _NOT_FOR_DECODING:
            importlib.import_module(module.name)


class NamedFile:
    """An open file as PyAV wants it. Raises `ItemError` UNREADABLE where reading fails.

    FFmpeg guesses some formats by the name's ending; otherwise the name leads nowhere.
    """

    def __init__(self, file: io.FileIO, name: str) -> None:
        self.name = f"file:{name}"
        self.seek, self.tell = file.seek, file.tell
        self.readable, self.seekable = file.readable, file.seekable
        self._file = file

    def read(self, num_bytes: int) -> bytes:
        with reading_on(self.name.removeprefix("file:")):
            return self._file.read(num_bytes)


@contextmanager
def reading_on(name: str) -> Iterator[None]:
    """What reads in this block and meets an `OSError` raises `ItemError` UNREADABLE."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ItemError("UNREADABLE", f"{name} cannot be read on: {reason}") from error


def frames_of(
    container: Any,
    stream: Any,
    on_error: Callable[[], None],
    on_encrypted: Callable[[], None],
) -> Iterator[Any]:
    """Frames of all packets that decode; for each of the others one of the functions is called.

    Encrypted packets are left alone: some of them decode all the same, to noise.
    """
    errors_in_a_row = 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                break
            errors_in_a_row = 0
        except MemoryError:  # PyAV's is an FFmpegError too
            raise
        except av.FFmpegError:
            on_error()
            errors_in_a_row += 1
            if errors_in_a_row >= _MAX_ERRORS_IN_A_ROW:
                break
            packets = container.demux(stream)  # the generator is spent, the file is not
            continue
        if packet.size == 0:
            continue  # PyAV marks the end with empty packets; the decoder is drained below
        if packet.has_sidedata("encryption_info"):
            on_encrypted()
            continue
        yield from _decoded(stream.codec_context, packet, on_error)
    yield from _decoded(stream.codec_context, None, on_error)


def _decoded(context: Any, packet: Any, on_error: Callable[[], None]) -> Iterator[Any]:
    """Frames of a packet, or with None those that the decoder still holds."""
    try:
        yield from context.decode(packet)
    except MemoryError:
        raise
    except EOFError:
        # A chained file ended one stream and begins another.
        context.flush_buffers()
        on_error()
    except av.FFmpegError:
        on_error()


def is_misread(frame: Any) -> bool:
    """Whether PyAV would read this frame's planes beyond their end."""
    return frame.format.is_planar and frame.layout.nb_channels >= _PLANES_THAT_CRASH


def interleaver() -> Callable[[Any], list[Any]]:
    """A function from a planar frame to the same samples interleaved (as a list of frames)."""
    resamplers: list[Any] = []

    def interleave(frame: Any) -> list[Any]:
        if not resamplers:
            resamplers.append(av.AudioResampler(format=frame.format.packed.name))
        frame.pts = None
        frames: list[Any] = resamplers[0].resample(frame)
        return frames

    return interleave
