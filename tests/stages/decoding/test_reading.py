"""A pass over a file: what the disk, the demuxer and the header may do to it."""

import errno
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.errors import ItemError
from stages.decoding.contents import Contents
from stages.decoding.reading import read_audio
from stages.decoding.samples import SampleStore, SampleWriter
from tests.stages.decoding.asking import GOOD, LIMITS
from tests.stages.media_files import encode, sine


class FailingDisk(io.FileIO):
    """Gives an error from the n-th read on."""

    def __init__(self, path: Path, good_reads: int) -> None:
        super().__init__(path)
        self.good_reads = good_reads

    def read(self, size: int | None = -1, /) -> bytes:
        self.good_reads -= 1
        if self.good_reads < 0:
            raise OSError(errno.EIO, "Input/output error")
        return super().read(-1 if size is None else size)


def contents_of(path: Path, opened: Callable[[Path], io.FileIO] = io.FileIO) -> Contents:
    with opened(path) as file, SampleStore(LIMITS.max_bytes) as store:
        return read_audio(file, path.name, LIMITS, SampleWriter(store.fd))


@pytest.mark.parametrize("good_reads", [0, 2, 4])
def test_a_disk_that_fails_is_told_and_no_short_file(tmp_path: Path, good_reads: int) -> None:
    path = encode(tmp_path / "a.flac", sine(60, 16_000), 16_000, "flac")
    with pytest.raises(ItemError, match=r"a\.flac cannot be read on: Input/output") as raised:
        contents_of(path, lambda path: FailingDisk(path, good_reads))
    assert raised.value.error_class == "UNREADABLE"


def test_a_file_made_of_nothing_but_changes_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = encode(tmp_path / "a.mp3", sine(0.5, 16_000), 16_000, "libmp3lame").read_bytes()
    other = encode(tmp_path / "b.mp3", sine(0.5, 24_000), 24_000, "libmp3lame").read_bytes()
    path = tmp_path / "c.mp3"
    path.write_bytes((one + other) * 3)
    assert len(contents_of(path).stretches) == 6
    monkeypatch.setattr("stages.decoding.reading.MOST_STRETCHES", 5)
    with pytest.raises(ItemError, match="more than 5 times") as raised:
        contents_of(path)
    assert raised.value.error_class == "FORMAT_CHANGE"


def test_a_length_that_is_no_number_is_no_promise(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mka", sine(2, 48_000), 48_000, "libopus")
    content = path.read_bytes()
    stated = content.find(b"00:00:02.")
    assert stated > 0
    assert contents_of(path).claimed_s == pytest.approx(2.0, abs=0.05)
    path.write_bytes(content[:stated] + b"inf:00:0" + content[stated + 8 :])
    assert contents_of(path).claimed_s is None


def test_a_name_says_the_format_where_the_bytes_do_not(tmp_path: Path) -> None:
    # Raw GSM is nothing but frames: only its ending tells what it is.
    frame = bytes([0xD0]) + bytes(32)
    path = tmp_path / "a.gsm"
    path.write_bytes(frame * 50)
    assert contents_of(path).container == "gsm"
    (tmp_path / "good.bin").write_bytes(GOOD)
    assert contents_of(tmp_path / "good.bin").container == "wav"
