"""D. Files put one behind the other, and files with something behind their end."""

import numpy as np

from benchmarks.malformed import encoded
from benchmarks.malformed.formats import ogg, wav
from benchmarks.malformed.kind import Kind, clean, flagged, from_bytes, salvaged
from benchmarks.malformed.voice import voice

_FAMILY = "glued"


def _opus_stereo() -> bytes:
    return encoded.encode(np.stack([voice(48_000)] * 2), 48_000, "ogg", "libopus")


KINDS: tuple[Kind, ...] = (
    from_bytes(
        _FAMILY,
        "mp3-other-rate",
        "mp3",
        "16 kHz, then another file at 44.1 kHz",
        lambda: encoded.mp3() + encoded.mp3(44_100, 180.0),
        salvaged("FORMAT_CHANGE", (7.8, 8.5), may_flag="DURATION_MISMATCH DECODE_ERROR"),
        voice=True,
    ),
    from_bytes(
        _FAMILY,
        "mp3-same-rate",
        "mp3",
        "two files of one rate: the Xing frame in front counts the first only",
        lambda: encoded.mp3() + encoded.mp3(16_000, 180.0),
        flagged("DURATION_MISMATCH DECODE_ERROR", (7.8, 8.5)),
        voice=True,
    ),
    from_bytes(
        _FAMILY,
        "ogg-chained",
        "ogg",
        "two Vorbis streams in a row, which the format allows",
        lambda: ogg.with_serial(encoded.vorbis(), 1) + ogg.with_serial(encoded.vorbis(180.0), 2),
        clean((7.7, 8.3), may_flag="DURATION_MISMATCH DECODE_ERROR FORMAT_CHANGE"),
        voice=True,
    ),
    from_bytes(
        _FAMILY,
        "opus-chained",
        "opus",
        "mono Opus, then stereo Opus as the next stream of the chain: all of it, or a flag",
        lambda: ogg.with_serial(encoded.opus(), 1) + ogg.with_serial(_opus_stereo(), 2),
        flagged("TRUNCATED DURATION_MISMATCH DECODE_ERROR FORMAT_CHANGE", (3.9, 8.3)),
        voice=True,
    ),
    from_bytes(
        _FAMILY,
        "flac-twice",
        "flac",
        "two FLAC files in a row: the length in front counts the first only",
        lambda: encoded.flac() + encoded.flac(),
        salvaged("DURATION_MISMATCH", (7.8, 8.2), may_flag="DECODE_ERROR"),
        voice=True,
    ),
    from_bytes(
        _FAMILY,
        "wav-twice",
        "wav",
        "two WAV files in a row: the second has as much audio and no chunk announces it",
        lambda: wav.simple() + wav.simple(wav.pcm16(voice(pitch_hz=180.0))),
        flagged("DURATION_MISMATCH FORMAT_CHANGE TRUNCATED DECODE_ERROR", (3.99, 8.1)),
        voice=True,
    ),
    from_bytes(
        _FAMILY,
        "wav-list-behind",
        "wav",
        "a LIST chunk with a comment behind the samples",
        lambda: wav.riff(
            wav.fmt(),
            wav.chunk(b"data", wav.pcm16()),
            wav.chunk(b"LIST", b"INFO" + wav.chunk(b"ICMT", b"a comment " * 40)),
        ),
        clean(),
        voice=True,
    ),
    from_bytes(
        _FAMILY,
        "wav-odd-chunk",
        "wav",
        "a chunk of odd length in front of the samples, without its pad byte",
        lambda: wav.riff(
            wav.fmt(), wav.chunk(b"note", b"abc", padded=False), wav.chunk(b"data", wav.pcm16())
        ),
        clean().or_failed("HEADER_INVALID"),
        voice=True,
    ),
    from_bytes(
        _FAMILY,
        "mp3-html-behind",
        "mp3",
        "a web server's error page where the download broke off and went on",
        lambda: encoded.mp3() + b"<html><body>502 Bad Gateway</body></html>\n" * 30,
        clean(may_flag="DECODE_ERROR DURATION_MISMATCH TRUNCATED"),
        voice=True,
    ),
)
