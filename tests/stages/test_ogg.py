"""Lengths of Ogg files from pages that a decoder refuses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.malformed.formats import ogg
from stages.decode import decode_file
from stages.ogg import ends_inside_ogg_page, ogg_audio_granules
from tests.stages.media_files import encode


def noise(path: Path, seconds: float = 2.0) -> Path:
    samples = np.random.default_rng(0).standard_normal(round(seconds * 48_000)) * 0.1
    return encode(path, samples, 48_000, "libopus")


def is_torn(path: Path) -> bool:
    with path.open("rb") as file:
        return ends_inside_ogg_page(file)


def granules(path: Path) -> tuple[int, int] | None:
    with path.open("rb") as file:
        return ogg_audio_granules(file)


def test_an_ogg_file_that_stops_inside_a_page_is_seen(tmp_path: Path) -> None:
    path = noise(tmp_path / "a.opus")
    content = path.read_bytes()
    assert not is_torn(path)
    for missing in (1, 10, len(content) // 2):
        (tmp_path / "b.opus").write_bytes(content[:-missing])
        assert is_torn(tmp_path / "b.opus")


def test_granules_are_those_of_the_first_and_the_last_page(tmp_path: Path) -> None:
    path = noise(tmp_path / "a.opus")
    pages = [page for page in ogg.pages_of(path.read_bytes()) if page.granule]
    assert granules(path) == (pages[0].granule, pages[-1].granule)
    assert pages[-1].granule == pytest.approx(96_000, abs=1000)


def test_pages_that_fail_their_checksum_still_tell_how_long_it_was(tmp_path: Path) -> None:
    path = noise(tmp_path / "a.opus", 5.0)
    content = bytearray(path.read_bytes())
    starts = [at for at in range(len(content)) if content[at : at + 4] == b"OggS"]
    for at in starts[3:]:
        content[at + 60] ^= 1
    path.write_bytes(content)
    found = decode_file(path, max_s=60, max_bytes=1 << 26, max_channels=2)
    assert found.decoded_s < 2
    assert found.claimed_s == pytest.approx(5.0, abs=0.1)
    assert "TRUNCATED" in found.damage


@pytest.mark.parametrize("bit", [62, 52, 40])
def test_a_flipped_bit_of_the_last_granule_claims_nothing(tmp_path: Path, bit: int) -> None:
    path = noise(tmp_path / "a.opus", 5.0)
    content = bytearray(path.read_bytes())
    pages = [page for page in ogg.pages_of(bytes(content)) if page.granule]
    at = content.rindex(b"OggS") + 6
    content[at + bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    assert granules(path) == (pages[0].granule, pages[-2].granule)
    found = decode_file(path, max_s=60, max_bytes=1 << 26, max_channels=2)
    assert found.claimed_s == pytest.approx(4.5, abs=0.6)


def test_other_streams_are_not_taken_for_the_first(tmp_path: Path) -> None:
    pages = ogg.pages_of(noise(tmp_path / "a.opus").read_bytes())
    assert granules(tmp_path / "a.opus")
    other = [replace(page, serial=page.serial + 1) for page in pages]
    path = tmp_path / "b.opus"
    path.write_bytes(ogg.pages_to_bytes([*pages, *other[:-1], replace(other[-1], granule=1 << 40)]))
    assert granules(path) == granules(tmp_path / "a.opus")
    for content in (b"", b"OggS", b"RIFF" + bytes(100), b"OggS" + bytes(400)):
        path.write_bytes(content)
        assert granules(path) is None
