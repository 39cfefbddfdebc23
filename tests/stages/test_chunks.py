"""What headers of chunked files promise, hide and contradict."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.malformed.formats import wav
from stages.chunks import (
    WideWords,
    bytes_of_no_chunk,
    bytes_of_other_audio,
    promised_over_held,
    wide_words,
)
from tests.stages.media_files import encode, sine, wav_bytes

TONE = sine(2, 16_000)
SAMPLES = wav.pcm16(TONE.astype(np.float64))


def promised(path: Path) -> float:
    with path.open("rb") as file:
        return promised_over_held(file)


def other_audio(path: Path) -> int:
    with path.open("rb") as file:
        return bytes_of_other_audio(file)


def no_chunk(path: Path) -> int:
    with path.open("rb") as file:
        return bytes_of_no_chunk(file)


def unknown(num_bytes: int, name: bytes = b"Xtra") -> bytes:
    """A chunk that nobody knows, its content random."""
    content = np.random.default_rng(num_bytes).bytes(num_bytes)
    return wav.chunk(name, content)


def words(tmp_path: Path, **fields: Any) -> WideWords | None:
    (tmp_path / "a.wav").write_bytes(wav.simple(bytes(4800), **fields))
    with (tmp_path / "a.wav").open("rb") as file:
        return wide_words(file)


@pytest.mark.parametrize(("stated", "factor"), [(None, 1.0), (0, 1.0), (0xFFFFFFFF, 1.0)])
def test_a_size_that_is_right_or_open_promises_nothing_more(
    tmp_path: Path, stated: int | None, factor: float
) -> None:
    (tmp_path / "a.wav").write_bytes(wav_bytes(TONE, 16_000, stated_bytes=stated))
    assert promised(tmp_path / "a.wav") == factor


def test_a_64_bit_size_counts_where_the_32_bit_one_is_open(tmp_path: Path) -> None:
    content = wav_bytes(TONE, 16_000, stated_bytes=0xFFFFFFFF)
    sizes = b"".join(n.to_bytes(8, "little") for n in (0, 4 * TONE.nbytes, 0)) + bytes(4)
    ds64 = b"ds64" + len(sizes).to_bytes(4, "little") + sizes
    (tmp_path / "a.wav").write_bytes(b"RF64" + content[4:12] + ds64 + content[12:])
    # float64 samples became 16 bit: the promise of 4 x 8 bytes a sample is 16 times what is there
    assert promised(tmp_path / "a.wav") == 16.0


def test_an_odd_chunk_before_the_samples_does_not_hide_them(tmp_path: Path) -> None:
    content = wav_bytes(TONE, 16_000)
    odd = b"LIST" + (3).to_bytes(4, "little") + b"abc\0"
    torn = (content[:12] + odd + content[12:])[: 44 + 12 + len(TONE)]
    (tmp_path / "a.wav").write_bytes(torn)
    assert promised(tmp_path / "a.wav") == pytest.approx(2.0)


def test_a_file_behind_another_is_counted(tmp_path: Path) -> None:
    path, one = tmp_path / "a.wav", wav_bytes(TONE, 16_000)
    comment = wav.chunk(b"LIST", b"INFO" + bytes(99))
    riff = wav.riff(wav.fmt(), wav.chunk(b"data", bytes(100)), comment)
    flac = encode(tmp_path / "a.flac", TONE, 16_000, "flac").read_bytes()
    for head in (one, riff):
        for behind in (one, flac):
            path.write_bytes(head + behind)
            assert other_audio(path) == len(behind)
            path.write_bytes(head)
            assert other_audio(path) == 0
    aiff = encode(tmp_path / "a.aiff", TONE, 16_000, "pcm_s16be").read_bytes()
    (tmp_path / "b.aiff").write_bytes(aiff + aiff)
    assert other_audio(tmp_path / "b.aiff") == len(aiff)
    assert other_audio(tmp_path / "a.aiff") == 0


def test_what_is_inside_the_samples_is_no_other_file(tmp_path: Path) -> None:
    one = wav_bytes(TONE, 16_000)
    path = tmp_path / "a.wav"
    for stated in (None, wav.UNKNOWN_SIZE):
        path.write_bytes(wav.riff(wav.fmt(), wav.chunk(b"data", one + one, stated=stated)))
        assert other_audio(path) == 0


@pytest.mark.parametrize(
    ("stated", "unannounced"),
    [
        (len(SAMPLES) // 2, len(SAMPLES) // 2),
        (len(SAMPLES) - 64, 64),
        (2, len(SAMPLES) - 2),
        *((size, 0) for size in (None, 0, len(SAMPLES) - 62, 2 * len(SAMPLES), wav.UNKNOWN_SIZE)),
    ],
)
def test_samples_that_no_header_announces_are_counted(
    tmp_path: Path, stated: int | None, unannounced: int
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav.riff(wav.fmt(), wav.chunk(b"data", SAMPLES, stated=stated)))
    assert no_chunk(path) == unannounced


@pytest.mark.parametrize(
    "behind",
    [
        b"",
        b"\n" * 60,
        bytes(1),
        bytes(5000),
        wav.chunk(b"LIST", b"INFO" + bytes(99)),
        b"ID3\x03" + bytes(80),
        b"TAGa title",
        wav.simple(),
        *(bytes(zeros) + wav.chunk(b"bext", bytes([9]) * 602) for zeros in range(1, 9)),
        bytes(3) + wav.chunk(b"LIST", b"INFO" + bytes(99), stated=1 << 30),
        bytes(70_000) + wav.chunk(b"LIST", b"INFO" + bytes(99)),
        b"\xff" * 200_000,
        bytes(6) + b"\xff" * 500,
        unknown(150, b"id3\0"),
        unknown(150, b"ab\0\0"),
        unknown(150, b"abc\xb0"),
        unknown(150) + unknown(151) + b"\xff" * 99,
        bytes(2) + unknown(151) + bytes(9) + wav.chunk(b"LIST", b"INFO" + bytes(99)),
        b"APETAGEX" + unknown(80),
        b"\r\n------WebKitFormBoundaryk3X--\r\n" + b"\x80\x81" * 40,
        b"<html>\r\n\t<p>502 Bad Gateway</p>\n</html>\n" * 2000,
    ],
)
@pytest.mark.parametrize("num_bytes", [100, 101])
@pytest.mark.parametrize("padded", [True, False])
def test_what_usually_stands_behind_samples_is_none_of_them(
    tmp_path: Path, behind: bytes, num_bytes: int, padded: bool
) -> None:
    path = tmp_path / "a.wav"
    data = wav.chunk(b"data", bytes([7]) * num_bytes, padded=padded)
    path.write_bytes(wav.riff(wav.fmt(), data) + behind)
    assert no_chunk(path) == 0


QUIET_U8 = (128 + 20 * np.sin(np.arange(4000) / 30 + 4)).astype(np.uint8).tobytes()
"""Negative half-waves of it look like text, the first one too."""


@pytest.mark.parametrize(
    "samples",
    [
        QUIET_U8,
        bytes([0x55, 0x54, 0x57, 0x56] * 3 + [0xD5, 0xD4, 0xD7, 0x55]) * 100,  # A-law
        bytes(65_536) + SAMPLES,
        bytes(200_000) + SAMPLES[-101:],
        b"\xff" * 70_000 + SAMPLES,
        b"A\0\2\0\1\0\0\0" + SAMPLES,
        b"abcd" + struct.pack("<I", 400) + SAMPLES,
        bytes(8) + b"abcd" + struct.pack("<I", 400) + SAMPLES,
        b"abcd" + bytes(4) + SAMPLES,
        b"\r\n\x80\x7f" + QUIET_U8,
    ],
)
@pytest.mark.parametrize("name", [b"RIFF", b"FORM"])
def test_samples_that_look_like_something_else_are_counted(
    tmp_path: Path, samples: bytes, name: bytes
) -> None:
    path = tmp_path / "a.wav"
    whole = wav.riff(wav.fmt(), wav.chunk(b"data", bytes(1000)), name=name)
    if name == b"FORM":
        whole = b"FORM" + bytes(4) + b"AIFFSSND" + struct.pack(">I", 1008) + bytes(1008)
    path.write_bytes(whole + samples)
    assert no_chunk(path) == len(samples)


def test_an_aiff_states_its_lengths_the_other_way_round(tmp_path: Path) -> None:
    path = tmp_path / "a.aiff"
    samples = b"FORM" + bytes(4) + b"AIFFSSND" + struct.pack(">I", 1008) + bytes(1008)
    content = np.random.default_rng(0).bytes(300)
    for order, num_bytes in ((">I", 0), ("<I", 308)):
        path.write_bytes(samples + b"Xtra" + struct.pack(order, 300) + content)
        assert no_chunk(path) == num_bytes
    path.write_bytes(samples + b"(c) " + struct.pack("<I", 300) + content)
    assert no_chunk(path) == 0


@pytest.mark.parametrize("length", [24, 25, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_a_w64_chunk_of_any_length_ends_the_walk(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.w64"
    path.write_bytes(b"riff" + bytes(36) + b"junk" + bytes(12) + struct.pack("<Q", length))
    assert promised(path) == 1.0


def test_lengths_that_no_seek_takes_end_the_walk(tmp_path: Path) -> None:
    sizes = b"\xff" * 16 + bytes(12)
    data = wav.chunk(b"data", bytes(100), stated=wav.UNKNOWN_SIZE)
    path = tmp_path / "a.wav"
    path.write_bytes(wav.riff(wav.chunk(b"ds64", sizes), wav.fmt(), data, name=b"RF64"))
    assert other_audio(path) == 0
    assert promised(path) == 1.0


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_samples_in_words_wider_than_their_bits_contradict_the_header(
    tmp_path: Path, channels: int
) -> None:
    found = words(tmp_path, bits=7, block=2 * channels, channels=channels)
    assert found == WideWords(7, 2, allowed=False)
    assert str(found) == "7 bits a sample, and 2 bytes for each"
    assert words(tmp_path, bits=20, block=4 * channels, channels=channels)
    for bits in (8, 16, 24, 32):
        assert words(tmp_path, bits=bits, channels=channels) is None
    assert words(tmp_path, bits=12, block=2 * channels, channels=channels) is None


@pytest.mark.parametrize(("valid", "wide"), [(16, True), (24, True), (25, False), (32, False)])
def test_an_extension_may_say_how_many_bits_count(tmp_path: Path, valid: int, wide: bool) -> None:
    extra = struct.pack("<HI", valid, 4) + bytes(16)
    found = words(tmp_path, tag=0xFFFE, bits=32, extra=extra)
    assert found == (WideWords(valid, 4, allowed=True) if wide else None)


def test_one_wrong_field_is_outvoted(tmp_path: Path) -> None:
    assert words(tmp_path, bits=16, block=4, byte_rate=32_000) is None
    assert words(tmp_path, bits=16, block=7) is None
    assert words(tmp_path, bits=16, block=0) is None
    assert words(tmp_path, bits=4, block=256, tag=wav.IMA_ADPCM) is None
