"""C. Downloads that stopped, disks that lost a block, bits that fell over."""

from collections.abc import Callable

import numpy as np

from benchmarks.malformed import encoded
from benchmarks.malformed.formats import flac, mp3, mp4, ogg, wav
from benchmarks.malformed.kind import Expected, Kind, clean, failed, flagged, from_bytes, salvaged

_FAMILY = "torn"
_HOLE_FRACTION = 0.2
Content = Callable[[], bytes]


def _half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _with_hole(content: bytes) -> bytes:
    start, length = round(0.45 * len(content)), round(_HOLE_FRACTION * len(content))
    return content[:start] + bytes(length) + content[start + length :]


def _flipped(content: bytes, start: int, end: int, per_byte: float) -> bytes:
    """One bit of every so many bytes between two places turned over, seeded."""
    rng = np.random.default_rng(5)
    changed = bytearray(content)
    for at in rng.choice(end - start, max(1, round((end - start) * per_byte)), replace=False):
        changed[start + int(at)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _audio_of(content: bytes) -> tuple[int, int]:
    """Where the audio of a file begins and ends, so that headers stay whole."""
    if content[:4] == b"fLaC":
        return flac.metadata_end(content), len(content)
    if content[:4] == b"OggS":
        header = [page for page in ogg.pages_of(content) if page.granule == 0]
        return len(ogg.pages_to_bytes(header)), len(content)
    if content[4:8] == b"ftyp":
        samples = dict(mp4.boxes(content))[b"mdat"]
        return content.index(samples), content.index(samples) + len(samples)
    return len(content) - len(mp3.without_length(content)), len(content)


def _torn(name: str, ending: str, how: str, content: Content, expected: Expected) -> Kind:
    return from_bytes(_FAMILY, name, ending, how, content, expected, voice=expected.kept)


def _half_of(
    name: str, ending: str, content: Content, *, flags: str = "TRUNCATED", may: str = "DECODE_ERROR"
) -> Kind:
    expected = salvaged(flags, (0.8, 3.2), may_flag=may)
    return _torn(name, ending, "the first half of the bytes", lambda: _half(content()), expected)


def _hole_in(name: str, ending: str, content: Content, *, flags: str) -> Kind:
    expected = salvaged(flags, (1.9, 4.1), may_flag="TRUNCATED DECODE_ERROR FORMAT_CHANGE")
    how = "a fifth of the bytes in the middle are zero"
    return _torn(name, ending, how, lambda: _with_hole(content()), expected)


def _flips_in(
    name: str, ending: str, content: Content, *, few: Expected, many: Expected
) -> tuple[Kind, Kind]:
    def made(per_byte: float) -> bytes:
        return _flipped(content(), *_audio_of(content()), per_byte)

    return (
        _torn(
            f"{name}-few-flips",
            ending,
            "one bit in 5,000 bytes of the audio turned over, headers whole",
            lambda: made(1 / 5000),
            few,
        ),
        _torn(
            f"{name}-many-flips",
            ending,
            "one bit in 500 bytes of the audio turned over, headers whole",
            lambda: made(1 / 500),
            many,
        ),
    )


_UNSEEN = clean((2.8, 4.2), may_flag="TRUNCATED DECODE_ERROR DURATION_MISMATCH")
"""Codecs without checksums: a flip that still decodes is a sound that nobody can tell apart."""
_RUINED = flagged("TRUNCATED DECODE_ERROR FORMAT_CHANGE", (0.05, 4.1)).or_failed(
    "DECODED_EMPTY", "DECODE_ERROR", "TRUNCATED", "HEADER_INVALID"
)
"""Checksums refuse nearly everything; what is left is kept with a flag, or nothing is."""

KINDS: tuple[Kind, ...] = (
    _half_of("wav-half", "wav", encoded.wav, may=""),
    _torn(
        "wav-odd",
        "wav",
        "the first half of the bytes and one more: half a sample at the end",
        lambda: wav.simple()[: 44 + 64_001],
        salvaged("TRUNCATED", (1.9, 2.1), may_flag="DECODE_ERROR"),
    ),
    _half_of("mp3-half", "mp3", encoded.mp3),
    _half_of("flac-half", "flac", encoded.flac),
    _half_of("ogg-half", "ogg", encoded.vorbis),
    _half_of("opus-half", "opus", encoded.opus),
    _torn(
        "m4a-half",
        "m4a",
        "the first half of the bytes, so without the index (moov) at the end",
        lambda: _half(encoded.m4a()),
        failed("TRUNCATED", "HEADER_INVALID"),
    ),
    _half_of("m4a-index-first-half", "m4a", lambda: mp4.index_first(encoded.m4a())),
    _torn(
        "mp3-without-front",
        "mp3",
        "the second half of the bytes: no tag, no Xing frame, starts inside a frame",
        lambda: encoded.mp3()[len(encoded.mp3()) // 2 :],
        clean((1.5, 2.5), may_flag="DECODE_ERROR"),
    ),
    _torn(
        "ogg-without-front",
        "ogg",
        "the second half of the bytes: no header packets, so no decoder can be set up",
        lambda: encoded.vorbis()[len(encoded.vorbis()) // 2 :],
        failed("NOT_AUDIO", "HEADER_INVALID", "DECODED_EMPTY", "TRUNCATED"),
    ),
    _hole_in("mp3-hole", "mp3", encoded.mp3, flags="TRUNCATED"),
    _hole_in("flac-hole", "flac", encoded.flac, flags="TRUNCATED"),
    _hole_in("ogg-hole", "ogg", encoded.vorbis, flags="TRUNCATED"),
    _hole_in("m4a-hole", "m4a", encoded.m4a, flags="DECODE_ERROR"),
    *_flips_in("mp3", "mp3", encoded.mp3, few=_UNSEEN, many=_UNSEEN),
    *_flips_in(
        "flac",
        "flac",
        encoded.flac,
        few=salvaged("TRUNCATED", (2.0, 3.99), may_flag="DECODE_ERROR"),
        many=_RUINED,
    ),
    *_flips_in(
        "ogg",
        "ogg",
        encoded.vorbis,
        few=salvaged("TRUNCATED", (1.5, 3.99), may_flag="DECODE_ERROR"),
        many=_RUINED,
    ),
    *_flips_in("m4a", "m4a", encoded.m4a, few=_UNSEEN, many=_UNSEEN),
    *_flips_in(
        "opus",
        "opus",
        encoded.opus,
        few=salvaged("TRUNCATED", (1.5, 3.99), may_flag="DECODE_ERROR"),
        many=_RUINED,
    ),
)
