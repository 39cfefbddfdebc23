"""What stands in front of the samples: streams, codecs that would decode to noise, lengths."""

import struct
from pathlib import Path

import numpy as np
import pytest

from benchmarks.malformed import encoded
from benchmarks.malformed.formats import wav
from schemas.errors import ItemError
from stages.decode import decode_file
from stages.decoding.decoded import Decoded
from tests.stages.media_files import encode, sine

PCM_GUID = struct.pack("<H", wav.PCM) + bytes.fromhex("000000001000800000aa00389b71")


def decoded(path: Path) -> Decoded:
    return decode_file(path, max_s=60, max_bytes=1 << 26, max_channels=2)


def refused(path: Path) -> str:
    with pytest.raises(ItemError) as raised:
        decoded(path)
    return f"{raised.value.error_class}: {raised.value}"


@pytest.mark.parametrize("tag", [b"enca", b"drms", b"aavd"])
def test_a_protected_mp4_is_refused_by_its_tag(tmp_path: Path, tag: bytes) -> None:
    path = encode(tmp_path / "a.m4a", sine(1, 44_100), 44_100, "aac")
    content = path.read_bytes()
    assert content.count(b"mp4a") == 1
    path.write_bytes(content.replace(b"mp4a", tag))
    assert refused(path).startswith("UNSUPPORTED_CODEC: a.m4a")


def test_encrypted_packets_are_not_decoded(tmp_path: Path) -> None:
    path, key = tmp_path / "a.mp4", "00112233445566778899aabbccddeeff"
    options = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": key,
        "encryption_kid": key,
    }
    path.write_bytes(
        encoded.encode(
            sine(1, 44_100).astype(np.float64), 44_100, "mp4", "aac", container_options=options
        )
    )
    assert "(aac) is encrypted" in refused(path)


@pytest.mark.parametrize("bits", [16, 24])
def test_narrow_samples_in_wide_words_are_not_read_as_floats(tmp_path: Path, bits: int) -> None:
    words = (sine(1, 16_000) * 2**31).astype("<i4") >> (32 - bits) << (32 - bits)
    for valid, kept in ((bits, False), (32, True)):
        extra = struct.pack("<HI", valid, 4) + PCM_GUID
        path = tmp_path / f"{valid}.wav"
        path.write_bytes(wav.simple(words.tobytes(), tag=0xFFFE, bits=32, extra=extra))
        if kept:
            assert np.abs(decoded(path).samples).max() == pytest.approx(0.3, abs=0.001)
        else:
            assert refused(path).startswith(f"UNSUPPORTED_CODEC: {valid}.wav states {bits} bits")


@pytest.mark.parametrize(("container", "codec"), [("matroska", "flac"), ("webm", "libopus")])
def test_a_track_that_starts_late_is_not_short(tmp_path: Path, container: str, codec: str) -> None:
    path = tmp_path / "a.mka"
    for start_s in (0.0, 5.0):
        path.write_bytes(
            encoded.encode(
                sine(2, 48_000).astype(np.float64), 48_000, container, codec, start_s=start_s
            )
        )
        found = decoded(path)
        assert found.claimed_s == pytest.approx(2.0, abs=0.05)
        assert found.damage == {}
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2])
    assert "TRUNCATED" in decoded(path).damage
