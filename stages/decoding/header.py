"""What stands in a file before its samples: which stream, which codec, how long."""

import io
import math
from typing import Any

from schemas.errors import ItemError
from stages.chunks import promised_over_held, wide_words
from stages.media import audio_kind, describe_bytes, first_bytes, states_length
from stages.ogg import ogg_audio_granules

_ENCRYPTED_TAGS = ("enca", "drms", "aavd")
"""Of MP4: Common Encryption, FairPlay, Audible."""


def unopenable(file: io.FileIO, name: str) -> ItemError:
    """What to say of a file that no demuxer takes."""
    head = first_bytes(file)
    kind = audio_kind(head)
    if kind is None:
        found = describe_bytes(head)
        return ItemError("NOT_AUDIO", f"{name} looks like {found}; wanted an audio file")
    if kind == "MP4":
        return ItemError(
            "TRUNCATED",
            f"{name} is an MP4 file without its index (moov): the end, where that stands, "
            "is missing; copy it again from its source",
        )
    return ItemError(
        "HEADER_INVALID",
        f"{name} begins like {kind}, but its header cannot be read; copy it again",
    )


def first_audio_stream(container: Any, name: str) -> Any:
    """The stream that is decoded; raises `ItemError` where there is none, or no decoder for it."""
    if not container.streams.audio:
        kinds = sorted({s.type for s in container.streams}) or ["no streams"]
        raise ItemError(
            "NO_AUDIO_STREAM",
            f"{name} ({container.format.name}) holds {', '.join(kinds)} but no audio",
        )
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise ItemError(
            "UNSUPPORTED_CODEC",
            f"{name} ({container.format.name}) holds audio in a codec that FFmpeg cannot "
            "decode; convert it to FLAC or WAV",
        )
    return stream


def encrypted(name: str, codec: str) -> ItemError:
    """What to say of samples that take a key."""
    return ItemError(
        "UNSUPPORTED_CODEC",
        f"{name} ({codec}) is encrypted; wanted a file without copy protection",
    )


def check_codec(context: Any, container: str, file: io.FileIO, name: str) -> None:
    """Raises `ItemError` for samples that would decode to noise. Moves the file's position."""
    if context.codec_tag in _ENCRYPTED_TAGS:
        raise encrypted(name, context.name)
    words = wide_words(file) if container == "wav" else None
    if words:
        raise ItemError(
            "UNSUPPORTED_CODEC" if words.allowed else "HEADER_INVALID",
            f"{name} states {words}, which FFmpeg reads as noise; wanted bytes that the bits fill; "
            "convert it to FLAC, or copy it again",
        )


def claimed_length_s(container: Any, stream: Any, file: io.FileIO) -> float | None:
    """Seconds that the file promises; None where it does not say. Moves the file's position."""
    seconds = None
    if states_length(container.format.name, file):
        seconds = _stated_length_s(container, stream)
        if seconds is not None:
            seconds *= promised_over_held(file)
    if container.format.name == "ogg" and (granules := ogg_audio_granules(file)):
        first, last = granules
        start = first if stream.start_time is None else min(stream.start_time, first)
        seconds = max(seconds or 0.0, float((last - start) * stream.time_base))
    return seconds


def guessed_length_s(container: Any) -> float | None:
    """What FFmpeg makes of a file that states no length: mostly its size over its bit rate."""
    return float(container.duration) / 1e6 if container.duration else None


def _stated_length_s(container: Any, stream: Any) -> float | None:
    """Seconds that the header promises for this stream; None if it does not say."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    seconds = _stated_end_s(container, stream)
    if seconds is None or "matroska" not in container.format.name or not stream.start_time:
        return seconds
    # Matroska states when a track ends, and what begins late is not shorter for it.
    return max(0.0, seconds - max(0.0, float(stream.start_time * stream.time_base)))


def _stated_end_s(container: Any, stream: Any) -> float | None:
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
