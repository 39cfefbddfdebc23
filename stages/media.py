"""What may be opened as audio, what a header promises, and what bytes look like when they are not.

Files come from strangers. FFmpeg is told which demuxers it may use, because a playlist or a concat
script under the name of an MP3 makes it open other files: the protocol whitelist alone does not
stop that, the format whitelist does.
"""

from typing import BinaryIO

FORMATS = (
    "aac", "ac3", "aiff", "amr", "amrnb", "amrwb", "ape", "asf", "au", "caf", "dts", "eac3", "flac",
    "flv", "gsm", "matroska", "webm", "mov", "mp4", "mp3", "mpeg", "mpegts", "nistsphere", "ogg",
    "tta", "voc", "w64", "wav", "wv",
)  # fmt: skip
"""Demuxers that may be used. None of them follows a reference to another file by default. AVI is
left out: it carries video, and subtitles in it were the way into other files in 2017."""

OPEN_OPTIONS = {
    "format_whitelist": ",".join(FORMATS),
    "protocol_whitelist": "file",
}
"""For a file by its path, under `file:`."""
OPEN_FILE_OPTIONS = OPEN_OPTIONS | {"protocol_whitelist": "none"}
"""For a file that is open already: FFmpeg has no cause to open anything."""

_GUESSED = frozenset(
    {"aac", "ac3", "amr", "amrnb", "amrwb", "dts", "eac3", "gsm", "mpeg", "mpegts"}
)
"""Demuxers without a length in the file: what FFmpeg reports is size over bit rate, a guess."""

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"#EXTM3U", "a playlist (HLS)"),
    (b"ffconcat", "an FFmpeg concat script"),
    (b"v=0", "a session description (SDP)"),
    (b"<?xml", "XML"),
    (b"<!doctype", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"%pdf", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"\x7fELF", "a program (ELF)"),
    (b"MThd", "a MIDI score"),
    (b"PAR1", "a Parquet table"),
    (b"SQLite format", "an SQLite database"),
)
_FOREIGN_RIFF = {b"AVI ": "an AVI video", b"WEBP": "a WebP picture"}
_AUDIO_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"fLaC", "FLAC"),
    (b"OggS", "Ogg"),
    (b"ID3", "MP3"),
    (b"caff", "CAF"),
    (b"#!AMR", "AMR"),
    (b".snd", "AU"),
    (b"NIST_1A", "SPHERE"),
    (b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
    (b"0&\xb2u\x8ef\xcf\x11", "WMA (ASF)"),
)
_TEXT_BUT_AUDIO = (b"NIST_1A", b"#!AMR")  # SPHERE headers are plain text
_SNIFF_BYTES = 512
_TEXT_BYTES = (
    frozenset(range(0x20, 0x7F)) | frozenset(b"\t\n\r\f\x1b") | frozenset(range(0x80, 256))
)


def first_bytes(file: BinaryIO) -> bytes:
    """Up to 512 bytes from the start of a file."""
    file.seek(0)
    return file.read(_SNIFF_BYTES)


def foreign_kind(head: bytes) -> str | None:
    """What the first bytes belong to, e.g. `an HTML page`; None if they may well be audio."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for signature, kind in _SIGNATURES:
        if start.startswith(signature.lower()):
            return kind
    if head.startswith(_TEXT_BUT_AUDIO):
        return None
    if head[:4] == b"RIFF" and head[8:12] in _FOREIGN_RIFF:
        return _FOREIGN_RIFF[head[8:12]]
    if _is_text(head):
        return "JSON" if start.startswith((b"{", b"[")) else "plain text"
    if not any(head):
        return "nothing but zero bytes"
    return None


def audio_kind(head: bytes) -> str | None:
    """The audio format that the first bytes announce, e.g. `WAV`; None if they announce none."""
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return "WAV"
    if head[:4] == b"FORM" and head[8:11] == b"AIF":
        return "AIFF"
    if head[4:8] == b"ftyp":
        return "MP4"
    for signature, kind in _AUDIO_SIGNATURES:
        if head.startswith(signature):
            return kind
    return None


def describe_bytes(head: bytes) -> str:
    """A few words about bytes that are no audio format that is known."""
    return foreign_kind(head) or f"no format known here (first bytes {head[:8].hex(' ')})"


def _is_text(head: bytes) -> bool:
    if not set(head) <= _TEXT_BYTES:
        return False
    try:
        head[:-4].decode()  # the cut may fall inside a UTF-8 character
    except UnicodeDecodeError:
        return False
    return True


def states_length(container: str, file: BinaryIO) -> bool:
    """Whether the file itself says how long it is, so that less audio than that means damage."""
    names = set(container.split(","))
    if names & _GUESSED:
        return False
    if "mp3" in names:
        return _has_mp3_frame_count(file)
    return True


def _has_mp3_frame_count(file: BinaryIO) -> bool:
    """Whether an MP3 starts with a Xing, Info or VBRI frame; without one its length is a guess."""
    file.seek(0)
    head = file.read(10)
    if head[:3] == b"ID3" and len(head) == 10:
        size = 0
        for byte in head[6:10]:  # four bytes of seven bits each
            size = size << 7 | byte & 0x7F
        file.seek(10 + size)
    else:
        file.seek(0)
    frame = file.read(4096)
    return any(tag in frame for tag in (b"Xing", b"Info", b"VBRI"))
