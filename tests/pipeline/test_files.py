"""Files are put in place whole, once, and a disk that fails is told from everything else."""

import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.files import create_file, sha256_of, write_parquet, write_text
from schemas.errors import StorageError

ROOT = Path(__file__).resolve().parents[2]
TABLE = pa.table({"x": list(range(5000))})
WRITE = """
import sys
from pathlib import Path
from pipeline.files import write_parquet
from schemas.errors import StorageError
from tests.pipeline.test_files import TABLE
try:
    write_parquet(TABLE, Path(sys.argv[1]), "", "unit", 0)
except StorageError as error:
    print(error)
"""


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process gets larger than 1,000 bytes: the kernel refuses the rest.

    Within a test only: beyond it pytest writes its own output, maybe to a longer file.
    """
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_name_says_unit_epoch_and_content(tmp_path: Path) -> None:
    first = write_parquet(TABLE, tmp_path, "a/b", "unit", 3)
    assert first.name == f"a/b/unit-3-{first.sha256[:12]}.parquet"
    assert sha256_of(tmp_path / first.name) == first.sha256
    assert (first.num_rows, first.size_bytes) == (5000, (tmp_path / first.name).stat().st_size)
    other = write_parquet(TABLE.slice(1), tmp_path, "a/b", "unit", 3)
    assert other.name != first.name
    assert sorted(tmp_path.rglob("*.part")) == []


def test_a_whole_file_is_left_as_it_is_and_a_damaged_one_is_mended(tmp_path: Path) -> None:
    file = write_parquet(TABLE, tmp_path, "", "unit", 0)
    path = tmp_path / file.name
    inode = path.stat().st_ino
    assert write_parquet(TABLE, tmp_path, "", "unit", 0) == file
    assert path.stat().st_ino == inode
    path.write_bytes(b"torn")
    assert write_parquet(TABLE, tmp_path, "", "unit", 0) == file
    assert sha256_of(path) == file.sha256


def test_a_file_is_created_once(tmp_path: Path) -> None:
    assert create_file(tmp_path / "x", b"first")
    assert not create_file(tmp_path / "x", b"second")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"first"


def test_without_room_nothing_is_left_and_the_error_says_what_to_do(tmp_path: Path) -> None:
    mend = "make room, then run the same command again"
    (tmp_path / "text").write_text("old")
    with full_disk(), pytest.raises(StorageError, match=mend):
        write_parquet(TABLE, tmp_path, "", "unit", 0)
    with full_disk(), pytest.raises(StorageError, match=mend):
        create_file(tmp_path / "entry", bytes(2000))
    with full_disk(), pytest.raises(StorageError, match=mend):
        write_text(tmp_path / "text", "x" * 2000)
    assert [path.name for path in tmp_path.iterdir()] == ["text"]
    assert (tmp_path / "text").read_text() == "old"


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"gone/entry: .*went away"):
        create_file(tmp_path / "gone" / "entry", b"")


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_what_the_disk_did_not_take_has_no_name_under_which_it_would_be_believed(
    tmp_path: Path,
) -> None:
    fails = ["strace", "-f", "-qq", "-e", "trace=fsync", "-e", "inject=fsync:error=EIO:when=1"]
    said = subprocess.run(
        [*fails, "-o", "/dev/null", sys.executable, "-c", WRITE, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "Input/output error" in said
    assert list(tmp_path.iterdir()) == []
