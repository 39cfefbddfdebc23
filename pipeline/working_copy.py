"""An output as a folder of this machine: the output itself, or a copy of one on an object store.

A job works on files. Where its output is on an object store, the store holds the truth, and each
machine a working copy under the user's cache: what was written goes to the store before anything
names it, what is missing here is fetched when it is read. Log entries and data files never change,
so a copy is never old; `job.json` tells whether the copy is of the output that is there now. Locks,
the ledger of attempts, heartbeats and logs of runs stay on their machine: they save work and
explain, and no commit depends on them. A folder says by the file `.store` whose copy it is.
"""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import platformdirs

from pipeline.bucket import Bucket, ObjectStat
from pipeline.files import create_file, storage_error, write_bytes
from pipeline.remote_inputs import is_local
from schemas.errors import OutputError, StorageError

STORE_FILE = ".store"
JOB_FILE = "job.json"
_FETCHED_AT_ONCE = 16
_unused_copies: set[Path] = set()
"""Folders of this process that are copies for a while, see `unused_copy`."""


def folder_of(output: str) -> Path:
    """The folder of an output that is named by a path or by a URI of an object store.

    Raises `SpecError` for a URI of a store that takes no outputs, `StorageError` where the store
    fails.
    """
    if is_local(output):
        return Path(output)
    bucket = Bucket(output)
    folder = _cache_folder(bucket.uri)
    _mark(folder, bucket)
    _follow(folder, bucket)
    return folder


def writing_folder(output: str, out: Path) -> Path:
    """Where this machine writes files of an output whose driver works in the folder `out`."""
    if is_local(output):
        return out
    bucket = Bucket(output)
    folder = _cache_folder(bucket.uri)
    _mark(folder, bucket)
    return folder


def bucket_of(out: Path) -> Bucket | None:
    """The store that an output folder is a working copy of; None if the folder is the output.

    Raises `OutputError` for a folder that says so and is none: it would send our credentials, and
    what deletes, wherever a stranger's file says.
    """
    try:
        uri = (out / STORE_FILE).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise OutputError(f"{out / STORE_FILE} cannot be read ({error}); remove it") from error
    folder = out.resolve()
    if folder not in _unused_copies and folder != _cache_folder(uri).resolve():
        raise OutputError(
            f"{out} has a file {STORE_FILE} and is no working copy that audiomill keeps on this "
            "machine, so it was not opened; if it is a copy of one, name the output's URI instead"
        )
    return _bucket(uri, os.getpid())


def shown(out: Path) -> str:
    """How to name an output to a person, and to the command line."""
    bucket = bucket_of(out)
    return bucket.uri if bucket else str(out)


@contextmanager
def unused_copy(out: Path) -> Iterator[Path]:
    """The folder itself, or a copy that trusts nothing of an earlier one, for a while."""
    bucket = bucket_of(out)
    if bucket is None:
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="audiomill-copy-") as folder:
        copy = Path(folder).resolve()
        _unused_copies.add(copy)
        try:
            _mark(copy, bucket)
            yield copy
        finally:
            _unused_copies.discard(copy)


def has(out: Path, name: str) -> bool:
    """Whether there is such a file, which never changes, here or on the store."""
    try:
        read(out, name)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # its reader says what is wrong with it
    return True


def read(out: Path, name: str, *, keep: bool = True) -> bytes:
    """All bytes of a file that never changes; fetched if it is not here, and then kept.

    Raises `FileNotFoundError` if there is none anywhere, `OSError` where it cannot be read.
    """
    try:
        return (out / name).read_bytes()
    except FileNotFoundError:
        bucket = bucket_of(out)
        if bucket is None:
            raise
    data = bucket.read(name)
    if keep:
        with suppress(StorageError):  # a full disk is told by whoever needs the file
            write_bytes(out / name, data)
    return data


def fetch(out: Path, names: Iterable[str]) -> None:
    """Fetches what is not here yet, many at once; what is nowhere is its reader's to miss."""
    bucket = bucket_of(out)
    if bucket is None:
        return

    def one(name: str) -> None:
        with suppress(FileNotFoundError):
            write_bytes(out / name, bucket.read(name))

    missing = [name for name in names if not (out / name).exists()]
    with ThreadPoolExecutor(_FETCHED_AT_ONCE) as pool:
        list(pool.map(one, missing))


def create(out: Path, name: str, data: bytes) -> bool:
    """`files.create_file`, decided by the store where there is one."""
    bucket = bucket_of(out)
    if bucket is None:
        return create_file(out / name, data)
    if not bucket.create(name, data):
        return False
    with suppress(StorageError):  # a copy that cannot be written is read from the store
        write_bytes(out / name, data)
    return True


def publish(out: Path, *names: str, keep: bool = True) -> None:
    """Puts files that were written here on the store, if there is one, over earlier ones.

    Without `keep` they are then here no more.
    """
    bucket = bucket_of(out)
    if bucket is None:
        return
    for name in names:
        try:
            bucket.put(name, out / name)
        except StorageError:
            # Another run on this machine may have put it there and taken away what is here: a
            # name says what the content is.
            if (out / name).exists() or bucket.stat(name) is None:
                raise
        if not keep:
            (out / name).unlink(missing_ok=True)


def listing(out: Path, folder: str = "") -> list[str]:
    """Names of the files under a folder of the output, wherever it is, sorted."""
    bucket = bucket_of(out)
    if bucket is not None:
        return list(bucket.list(folder))
    try:
        found = [path for path in (out / folder).rglob("*") if not path.is_dir()]
    except OSError as error:
        raise storage_error(out / folder, error) from error
    return sorted(path.relative_to(out).as_posix() for path in found)


def stat(out: Path, name: str) -> ObjectStat | None:
    """Size and age of a file of the output; None if there is none."""
    bucket = bucket_of(out)
    if bucket is not None:
        return bucket.stat(name)
    try:
        found = (out / name).lstat()
    except OSError:
        return None
    return ObjectStat(found.st_size, found.st_mtime)


def remove(out: Path, name: str) -> None:
    """Removes a file for good; one that is not there is no error."""
    bucket = bucket_of(out)
    if bucket is not None:
        bucket.delete(name)
    try:
        (out / name).unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(out / name, error) from error


def drop_stale(out: Path, is_stale: Callable[[str], bool]) -> None:
    """Removes data files from a working copy that its store no longer has, and what tells of them.

    Copies of what was forgotten elsewhere go so, when the copy is next opened.
    """
    if not (out / STORE_FILE).exists():
        return
    held = (path for name in ("manifest", "shards") for path in (out / name).rglob("*.parquet"))
    stale = [path for path in held if is_stale(path.relative_to(out).as_posix())]
    if not stale:
        return
    try:
        # Data files last: while one is there, the next one to open the copy tries again.
        pages = (path for path in (out / "report").rglob("*") if not path.is_dir())
        for path in (*pages, out / "scores.json", *stale):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(out, error) from error


@lru_cache(maxsize=8)
def _bucket(uri: str, process: int) -> Bucket:
    """One a process: a connection does not survive a fork."""
    return Bucket(uri)


def _cache_folder(uri: str) -> Path:
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", uri.rpartition("/")[2]).strip("-.")[:40]
    digest = hashlib.sha256(uri.encode()).hexdigest()[:12]
    return platformdirs.user_cache_path("audiomill") / "outputs" / f"{name or 'output'}-{digest}"


def _mark(folder: Path, bucket: Bucket) -> None:
    if not (folder / STORE_FILE).exists():
        write_bytes(folder / STORE_FILE, bucket.uri.encode())


def _follow(folder: Path, bucket: Bucket) -> None:
    """Forgets a copy of an output that is no longer the one on the store."""
    theirs: bytes | None = None
    with suppress(FileNotFoundError):
        theirs = bucket.read(JOB_FILE)
    try:
        ours = (folder / JOB_FILE).read_bytes()
    except FileNotFoundError:
        ours = None
    if theirs == ours:
        return
    if ours is not None:  # without it there is nothing old: a driver may be beginning here
        forget(folder)
    if theirs is not None:
        write_bytes(folder / JOB_FILE, theirs)


def forget(folder: Path) -> None:
    """Removes what a working copy holds of its output, but its locks, ledgers and logs.

    The job file goes last: until then the next one to open the copy does it again.
    """
    try:
        for name in ("manifest", "shards", "report"):
            shutil.rmtree(folder / name, ignore_errors=True)
        rest = ("inputs-*.parquet", "catalog.duckdb*", "scores.json")
        for path in (path for name in rest for path in folder.glob(name)):
            path.unlink(missing_ok=True)
        (folder / JOB_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: an old copy cannot be removed ({error.strerror or error}); remove it"
        ) from error
