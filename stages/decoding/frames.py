"""FFmpeg's frames through PyAV, past packets that do not decode and past PyAV's own traps."""

import importlib
import io
import math
import pkgutil
from collections.abc import Callable, Iterator
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
        try:
            return self._file.read(num_bytes)
        except OSError as error:
            name, reason = self.name.removeprefix("file:"), error.strerror or str(error)
            raise ItemError("UNREADABLE", f"{name} cannot be read on: {reason}") from error


def frames_of(container: Any, stream: Any, on_error: Callable[[], None]) -> Iterator[Any]:
    """Frames of all packets that decode; for each of the others `on_error` is called once."""
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


def stated_length_s(container: Any, stream: Any) -> float | None:
    """Seconds that the header promises for this stream; None if it does not say."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    tag = stream.metadata.get("DURATION", "")  # Matroska: 00:01:02.345000000
    parts = tag.split(":")
    if len(parts) == 3:
        try:
            seconds = float(parts[0]) * 3600 + float(parts[1]) * 60 + float(parts[2])
        except ValueError:
            return None
        return seconds if math.isfinite(seconds) else None
    if container.duration and len(container.streams) == 1:
        return float(container.duration) / 1e6
    return None
