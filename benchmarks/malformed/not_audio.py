"""A. Files that are something else under the name of an audio file."""

import io
import struct
import zipfile
import zlib

import numpy as np

from benchmarks.malformed.formats import mp3
from benchmarks.malformed.kind import Kind, failed, from_bytes

_FAMILY = "not-audio"
_NOT_AUDIO = failed("NOT_AUDIO")


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        # A fixed date, so that the bytes are the same tomorrow.
        archive.writestr(zipfile.ZipInfo("a.wav", (2020, 1, 1, 0, 0, 0)), bytes(5000))
    return out.getvalue()


def png() -> bytes:
    def part(name: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + checksum

    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(9 * 8))
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", rows) + part(b"IEND", b"")


def _elf() -> bytes:
    return b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 2, 62, 1) + bytes(4000)


def _midi() -> bytes:
    notes = b"".join(bytes([0, 0x90, 60 + n % 12, 64, 48, 0x80, 60 + n % 12, 0]) for n in range(99))
    track = notes + b"\x00\xff\x2f\x00"
    header = b"MThd" + struct.pack(">IHHH", 6, 0, 1, 96)
    return header + b"MTrk" + struct.pack(">I", len(track)) + track


_HTML = (
    b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body>"
    + b"<p>The requested file was not found on this server.</p>" * 40
    + b"</body></html>\n"
)
_S3_ERROR = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code>'
    b"<Message>The specified key does not exist.</Message><Key>a.mp3</Key></Error>"
)
_GIT_LFS = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)

KINDS: tuple[Kind, ...] = (
    from_bytes(_FAMILY, "empty", "wav", "no bytes at all", bytes, failed("EMPTY_FILE")),
    from_bytes(_FAMILY, "one-byte", "wav", "the letter R", lambda: b"R", _NOT_AUDIO),
    from_bytes(
        _FAMILY,
        "random",
        "mp3",
        "64 KB of seeded random bytes",
        lambda: np.random.default_rng(1).bytes(65_536),
        _NOT_AUDIO,
    ),
    from_bytes(_FAMILY, "zeros", "wav", "64 KB of zero bytes", lambda: bytes(65_536), _NOT_AUDIO),
    from_bytes(
        _FAMILY, "html", "mp3", "a web server's page of error 404", lambda: _HTML, _NOT_AUDIO
    ),
    from_bytes(
        _FAMILY,
        "html-after-space",
        "mp3",
        "the same page behind blank lines",
        lambda: b"\r\n\r\n   " + _HTML,
        _NOT_AUDIO,
    ),
    from_bytes(
        _FAMILY,
        "json",
        "flac",
        "an API's error message",
        lambda: b'{"error": {"code": 403, "message": "quota exceeded"}}\n',
        _NOT_AUDIO,
    ),
    from_bytes(_FAMILY, "xml", "mp3", "an object store's NoSuchKey", lambda: _S3_ERROR, _NOT_AUDIO),
    from_bytes(_FAMILY, "git-lfs", "wav", "a pointer of git-lfs", lambda: _GIT_LFS, _NOT_AUDIO),
    from_bytes(_FAMILY, "zip", "wav", "a ZIP archive", _zip, _NOT_AUDIO),
    from_bytes(_FAMILY, "png", "wav", "a PNG picture", png, _NOT_AUDIO),
    from_bytes(_FAMILY, "elf", "wav", "the start of a program", _elf, _NOT_AUDIO),
    from_bytes(_FAMILY, "midi", "wav", "a MIDI score", _midi, _NOT_AUDIO),
    from_bytes(
        _FAMILY,
        "id3-only",
        "mp3",
        "an ID3v2 tag with a title and no frame behind it",
        lambda: mp3.id3(mp3.id3_frame(b"TIT2", b"\0A title"), mp3.id3_frame(b"TPE1", b"\0Nobody")),
        failed("NOT_AUDIO", "NO_AUDIO_STREAM", "HEADER_INVALID", "DECODED_EMPTY"),
    ),
)
