"""A pass over a file: what the disk, the demuxer and the header may do to it."""

import errno
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import ItemError
from stages.decode import decode_file
from stages.decoding.contents import Contents
from stages.decoding.reading import LOUDEST_LOSSY_SAMPLE, read_audio
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


@pytest.mark.parametrize("name", ["a.flac", "a.opus", "a.mp3", "a.wav"])
def test_a_disk_that_fails_is_told_and_no_short_file(tmp_path: Path, name: str) -> None:
    codec = {"a.wav": "pcm_s16le", "a.opus": "libopus", "a.mp3": "libmp3lame"}.get(name, "flac")
    path = encode(tmp_path / name, sine(3, 48_000), 48_000, codec)
    counted = FailingDisk(path, 10_000)
    contents_of(path, lambda _: counted)
    num_reads = 10_000 - counted.good_reads
    assert num_reads > 4
    for good_reads in range(num_reads):  # wherever it fails, also while a header is looked at
        with pytest.raises(ItemError, match=rf"{name} cannot be read on: Input/output") as raised:
            contents_of(path, partial(FailingDisk, good_reads=good_reads))
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


def test_a_burst_that_no_encoder_made_is_left_out_of_a_lossy_file(tmp_path: Path) -> None:
    quiet = encode(tmp_path / "a.aac", sine(1, 44_100), 44_100, "aac").read_bytes()
    loud = encode(tmp_path / "b.aac", sine(1, 44_100, level=4.0), 44_100, "aac").read_bytes()
    burst = encode(tmp_path / "c.aac", sine(1, 44_100, level=100.0), 44_100, "aac").read_bytes()
    path = tmp_path / "d.aac"
    path.write_bytes(quiet + loud + quiet)
    whole = contents_of(path)
    assert whole.num_errors == 0
    path.write_bytes(quiet + burst + quiet)
    found = contents_of(path)
    assert found.num_errors > 0
    assert found.num_samples == whole.num_samples - 1024 * found.num_errors
    kept = decode_file(path, max_s=60, max_bytes=1 << 26, max_channels=2)
    assert np.abs(kept.samples).max() <= LOUDEST_LOSSY_SAMPLE
    assert "DECODE_ERROR" in kept.damage
    exact = encode(tmp_path / "a.wav", sine(1, 44_100, level=100.0), 44_100, "pcm_f32le")
    assert contents_of(exact).num_errors == 0
