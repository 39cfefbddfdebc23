"""Immutable files: written beside, synced, checked by reopening, then put in place whole."""

import errno
import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import StorageError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM}


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file that is whole on disk but that no commit has named yet."""

    path: Path
    num_rows: int
    size_bytes: int
    sha256: str


def write_parquet(
    table: pa.Table,
    path: Path,
    *,
    rows_per_group: int = 16_384,
    dictionary: list[str] | bool = True,
) -> WrittenFile:
    """Writes `table` with page checksums, so that no reader ever sees half of it.

    An existing file of that name is replaced: names are digests of what is in them, so it is an
    earlier attempt at the same rows. Raises `StorageError` when the disk is at fault.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
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
        written = WrittenFile(path, found, part.stat().st_size, sha256_of(part))
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        if error.errno in _FULL and not isinstance(error, StorageError):
            raise StorageError(
                f"{path}: cannot be written ({error.strerror}); nothing of this unit was "
                "committed, make room and run the same command again"
            ) from error
        raise
    return written


def write_text(path: Path, text: str) -> None:
    """Puts a small text file in place whole."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Makes a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
