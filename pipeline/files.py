"""Immutable files: written beside, synced, checked by reopening, then put in place whole."""

import errno
import hashlib
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data_name import data_name
from pipeline.store import DataFile, UnknownOutcomeError
from schemas.errors import StorageError

PART_ENDING = ".part"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_LINKS = {errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EXDEV, errno.ENOSYS}
_NOT_MADE = _NO_ROOM | _FORBIDDEN | _NO_LINKS | {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}
"""Answers to a link that say for certain that it does not exist."""
TRIES_IF_GONE = 3
_T = TypeVar("_T")


def write_parquet(
    table: pa.Table,
    root: Path,
    folder: str,
    unit: str,
    epoch: int,
    *,
    rows_per_group: int = 16_384,
    dictionary: list[str] | bool = True,
) -> DataFile:
    """Writes `table` under `root`/`folder` with page checksums; no reader ever sees half of it.

    The name is made of the unit, the epoch and the content (see `data_name.py`). A file that is
    there already and whole is left as it is, because somebody may be reading it. Raises
    `StorageError` when the disk is at fault.
    """
    asked = (table, root, folder, unit, epoch, rows_per_group, dictionary)
    try:
        return again_if_gone(lambda: _write_parquet(*asked))
    except StorageError:
        raise
    except OSError as error:
        raise storage_error(root / folder, error) from error


def again_if_gone(write: Callable[[], _T]) -> _T:
    """Calls `write`, and again where what it was writing was taken away.

    A collection of garbage without a grace period takes half-written files too.
    """
    for _ in range(TRIES_IF_GONE):
        with suppress(FileNotFoundError):
            return write()
    return write()


def _write_parquet(
    table: pa.Table,
    root: Path,
    folder: str,
    unit: str,
    epoch: int,
    rows_per_group: int,
    dictionary: list[str] | bool,
) -> DataFile:
    (root / folder).mkdir(parents=True, exist_ok=True)
    part = part_of(root / folder / unit)
    try:
        pq.write_table(
            table,
            part,
            compression="zstd",
            row_group_size=rows_per_group,
            use_dictionary=dictionary,
            write_page_checksum=True,
        )
        found = pq.read_metadata(part).num_rows
        if found != table.num_rows:
            raise StorageError(f"{part} holds {found} rows after writing {table.num_rows}")
        sha256 = sha256_of(part)
        path = root / folder / data_name(unit, epoch, sha256)
        file = DataFile(path.relative_to(root).as_posix(), found, part.stat().st_size, sha256)
        if not (path.exists() and sha256_of(path) == sha256):
            # Synced before it has its name: after a sync that failed the next one may say yes to
            # what was lost, so a file that is found under its name must be on the disk already.
            sync(part)
            part.replace(path)
        sync(path.parent)
    finally:
        with suppress(OSError):
            part.unlink()
    return file


def create_file(path: Path, data: bytes) -> bool:
    """Puts a file in place whole unless that name is taken, and then returns False.

    A hard link decides between any number of processes on any number of machines. Raises
    `UnknownOutcomeError` where the disk does not say whether the file exists now, and
    `StorageError` where it does not.
    """
    try:
        return again_if_gone(lambda: _create_file(path, data))
    except StorageError:
        raise
    except OSError as error:
        raise storage_error(path, error) from error


def _create_file(path: Path, data: bytes) -> bool:
    part = part_of(path)
    try:
        _write_synced(part, data)
        try:
            os.link(part, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno in _NOT_MADE:
                raise
            raise UnknownOutcomeError(f"{path}: the disk does not say if it is there") from error
        try:
            sync(path.parent)
        except OSError as error:
            raise UnknownOutcomeError(f"{path}: the disk does not say if it stays") from error
    finally:
        with suppress(OSError):
            part.unlink()
    return True


def write_text(path: Path, text: str) -> None:
    """Puts a small text file in place whole, over an earlier one."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Puts a file in place whole, over an earlier one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        again_if_gone(lambda: _write_bytes(path, data))
    except OSError as error:
        raise storage_error(path, error) from error


def _write_bytes(path: Path, data: bytes) -> None:
    part = part_of(path)
    try:
        _write_synced(part, data)
        part.replace(path)
        sync(path.parent)
    finally:
        with suppress(OSError):
            part.unlink()


def part_of(path: Path) -> Path:
    """A name beside `path` that no other process uses, on whatever machine it runs."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}{PART_ENDING}")


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def storage_error(path: Path, error: OSError) -> StorageError:
    """What went wrong with our own storage, and what mends it."""
    said = error.strerror or str(error)
    if error.errno in _NO_ROOM:
        mend = "the disk is full, or a quota or limit is used up: make room"
    elif error.errno in _FORBIDDEN:
        mend = "it may not be written: check owner, mode and mount options"
    elif error.errno in _NO_LINKS:
        mend = "that file system has no hard links, which commits need: put the output elsewhere"
    elif error.errno == errno.ENOENT:
        mend = "it went away while it was written: is something else cleaning up there?"
    else:
        mend = "the disk or the network to it failed: check it ('dmesg' may say more)"
    return StorageError(
        f"{path}: {said}; {mend}, then run the same command again (what was committed stays)"
    )


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Makes a file's content, or the names in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
