"""What is opened as audio: regular files only, and never something that blocks."""

import os
import resource
from pathlib import Path

import pytest

from schemas.errors import ItemError, StorageError
from stages.decoding.input_file import open_audio
from tests.stages.decoding.asking import GOOD


def refusal(path: Path) -> ItemError:
    with pytest.raises(ItemError) as raised:
        open_audio(path)
    return raised.value


def test_a_file_and_a_link_to_it_are_opened_and_closed(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(GOOD)
    (tmp_path / "link.wav").symlink_to("a.wav")
    for name in ("a.wav", "link.wav"):
        with open_audio(tmp_path / name) as file:
            file.seek(0)
            assert file.read() == GOOD


def test_what_is_no_regular_file_is_refused_and_blocks_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "to-device").symlink_to("/dev/zero")
    (tmp_path / "to-fifo").symlink_to("fifo")
    names = ["fifo", "loop", "to-device", "to-fifo", "missing", ""]
    for path in [*(tmp_path / name for name in names), Path("/dev/zero"), Path("/dev/tty")]:
        assert refusal(path).error_class == "UNREADABLE", path


def test_what_takes_the_place_of_a_file_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(GOOD)
    before = os.stat(path)
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr("stages.decoding.input_file.os.stat", lambda path: before)
    assert "no regular file" in str(refusal(path))


def test_refusals_leave_no_descriptor(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "page.wav").write_text("<html>")
    assert refusal(tmp_path / "empty.wav").error_class == "EMPTY_FILE"
    assert refusal(tmp_path / "page.wav").error_class == "NOT_AUDIO"
    assert refusal(tmp_path).error_class == "UNREADABLE"
    opened = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    assert not [path for path in opened if path.startswith(str(tmp_path))]


def test_a_machine_out_of_descriptors_blames_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(GOOD)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(StorageError, match=r"a\.wav cannot be opened"):
            open_audio(tmp_path / "a.wav")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
