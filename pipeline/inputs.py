"""Lists the inputs of a job and fetches one when its turn comes."""

import errno
import fnmatch
import glob
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from pipeline.guarded_http import refusal_in
from pipeline.remote_inputs import download, is_local, open_store, remote_source, words
from schemas.errors import AudiomillError, ItemError, SpecError, StorageError
from schemas.job import InputsSpec
from schemas.secret_words import secret_in_uri
from schemas.source import Source

IN_A_JOB = "inputs.uri"
LEADS_OUT = "a link out of inputs.uri"
"""Stands as the etag of an input that is not to be opened."""

# A URI is UTF-8 text, a POSIX file name is any bytes: a byte that is no UTF-8 is written \xff in
# the URI. A backslash of the name that would then read as such an escape is written \x5c, so that
# two names never share a URI and every URI leads back to its name.
_ESCAPE = re.compile(r"\\x(5c|[89a-f][0-9a-f])")
_TO_ESCAPE = re.compile(rf"[\udc80-\udcff]|\\(?={_ESCAPE.pattern[2:]})")


@dataclass(frozen=True)
class Listing:
    """The inputs in order of URI, and how many files were left alone."""

    sources: tuple[Source, ...]
    num_left_alone: int


def list_inputs(spec: InputsSpec, key: str = IN_A_JOB) -> Listing:
    """Every input of the job; raises `SpecError` when there is none. Reads no file's content.

    `key` is what the user knows the URI by, for the messages.

    A name that cannot be opened (a link to nothing, a loop of links) is an input like any other: it
    fails when its turn comes, and the job goes on.
    """
    if found_secret := secret_in_uri(spec.uri):
        raise SpecError(f"{key}: found {found_secret} in it, and URIs stand in every row")
    filesystem, root = open_store(spec.uri, key)
    local = isinstance(filesystem, LocalFileSystem)
    base = Path.cwd()
    try:
        entries, left_alone = _found(filesystem, root, spec, key)
        chosen = sorted(entries.items())[: spec.limit]
        if local:
            bounds = bounds_of(spec, key)
            real_bounds = bounds and os.path.realpath(bounds)
            sources = [
                Source(_shown(path, base), *_local_version(path, real_bounds), bounds)
                for path, _ in chosen
            ]
        else:
            sources = [remote_source(filesystem, path, info) for path, info in chosen]
    except AudiomillError:
        raise
    except Exception as error:  # each store's library has errors of its own
        raise SpecError(f"{key}: {spec.uri!r} cannot be listed: {words(error)}") from error
    return Listing(tuple(sources), left_alone)


def bounds_of(spec: InputsSpec, key: str = IN_A_JOB) -> str | None:
    """`Source.bounds` of all inputs of a spec: the folder or the file that it names."""
    if spec.follow_links or not is_local(spec.uri):
        return None
    _, root = open_store(spec.uri, key)
    while glob.has_magic(root) and not os.path.exists(root):
        root = os.path.dirname(root)
    return root


@contextmanager
def fetched(source: Source) -> Iterator[Path]:
    """A local file with the bytes that were listed; a copy of a remote one lives for the block.

    Its path is UTF-8 text: a local file whose name is not comes as a link that lives for the block.

    Raises `ItemError`: UNREADABLE for what is no regular file or cannot be fetched, CHANGED for a
    file that is not the one that was listed, FORBIDDEN_URI for what must not be opened. A local
    file is looked at again when the block ends: one that changed while it was read may have given
    bytes of both, and one that became a link meanwhile those of another file.
    """
    if is_local(source.uri):
        if source.etag == LEADS_OUT:
            raise _leads_out(source)
        local = _local_path(source.uri)
        _check_regular(local, source)
        if _is_text(local):
            yield local
        else:
            # Under a name of ours: messages quote the name, and what is no text fits in no row.
            with _temporary_folder() as folder:
                (folder / "input").symlink_to(local)
                yield folder / "input"
        _check_regular(local, source)
        return
    with _temporary_folder() as folder:
        # The name is ours, not the URI's: a URI never becomes a local path.
        local = folder / "input"
        try:
            download(source, local)
        except AudiomillError:
            raise
        except Exception as error:  # each store's library has errors of its own
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageError(
                    f"{folder} has no room for a copy of {source.uri}; free space, or name a "
                    "larger folder in TMPDIR"
                ) from error
            raise ItemError(
                "FORBIDDEN_URI" if refusal_in(error) else "UNREADABLE",
                f"{source.uri} cannot be fetched: {words(error)}",
            ) from error
        yield local


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="audiomill-fetch-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_text(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_regular(path: Path, source: Source) -> None:
    try:
        found = path.lstat() if not path.is_symlink() else path.stat()
    except OSError as error:
        raise ItemError(
            "UNREADABLE", f"{source.uri} cannot be opened: {error.strerror or error}"
        ) from error
    if source.bounds is not None and not _is_within(path, os.path.realpath(source.bounds)):
        raise _leads_out(source)
    if not stat.S_ISREG(found.st_mode):
        raise ItemError(
            "UNREADABLE", f"{source.uri} is no regular file; only plain files are read as audio"
        )
    if found.st_size != source.size_bytes or str(found.st_mtime_ns) != source.etag:
        raise ItemError(
            "CHANGED",
            f"{source.uri} changed since it was listed ({source.size_bytes} bytes then, "
            f"{found.st_size} now); run with --fresh to list again",
        )


def _is_within(path: Path | str, real_bounds: str) -> bool:
    """Whether a path leads to that place or below it, whatever is a link on the way."""
    return os.path.commonpath((os.path.realpath(path), real_bounds)) == real_bounds


def _leads_out(source: Source) -> ItemError:
    return ItemError(
        "FORBIDDEN_URI",
        f"{source.uri} is a link that leads out of the folder of the inputs, or lies behind one; "
        "put the file there, or set inputs.follow_links=true where all links can be trusted",
    )


def _found(
    filesystem: Any, root: str, spec: InputsSpec, key: str
) -> tuple[dict[str, dict[str, Any]], int]:
    """Path to the store's facts of every input, never empty, and the number left alone."""
    if filesystem.isfile(root):
        return {root: filesystem.info(root)}, 0
    # A folder before a glob: 'show [2024]' is the name of one.
    if filesystem.isdir(root):
        found = filesystem.find(root, detail=True)
        entries = {p: info for p, info in found.items() if _wanted(p, root, spec)}
        if not found:
            raise SpecError(
                f"{key}: 0 files under {spec.uri!r}: the folder is empty; put recordings there, "
                "or name another folder"
            )
        if not entries:
            none = (
                "none matches inputs.include; name patterns there, as in "
                "\"inputs.include=['**/*.wav']\""
                if key == IN_A_JOB
                else "none is named like audio (.wav, .flac and others); name files, or a glob"
            )
            raise SpecError(f"{key}: {len(found)} files under {spec.uri!r}, but {none}")
        return entries, len(found) - len(entries)
    if not glob.has_magic(spec.uri):
        raise SpecError(f"{key}: there is nothing at {spec.uri!r} (looked at {root!r})")
    here = f"{os.getcwd()}/"
    if is_local(spec.uri) and not spec.uri.startswith(("/", "file:/")) and root.startswith(here):
        # The pattern is what the user wrote, not what the current folder happens to be called.
        root = glob.escape(here) + root.removeprefix(here)
    found = filesystem.glob(root, detail=True)
    entries = {path: info for path, info in found.items() if info["type"] != "directory"}
    if not entries:
        raise SpecError(
            f"{key}: no file matches the glob {spec.uri!r}; "
            "a '[' that belongs to a name is written '[[]'"
        )
    return entries, 0


def _wanted(path: str, root: str, spec: InputsSpec) -> bool:
    relative = path[len(root) :].lstrip("/").lower()
    return _matches(relative, spec.include) and not _matches(relative, spec.exclude)


def _matches(relative: str, patterns: list[str]) -> bool:
    # '**/' also stands for no folder at all, which fnmatch does not know.
    return any(
        fnmatch.fnmatchcase(relative, form)
        for pattern in patterns
        for form in (pattern.lower(), pattern.lower().removeprefix("**/"))
    )


def _shown(path: str, base: Path) -> str:
    """Local paths as the user wrote them: relative where they lie below the current folder."""
    with suppress(ValueError):  # what lies elsewhere stays absolute
        path = Path(path).relative_to(base).as_posix()
    return _TO_ESCAPE.sub(lambda found: f"\\x{os.fsencode(found[0])[0]:02x}", path)


def _local_path(uri: str) -> Path:
    """The path that `_shown` wrote as `uri`."""
    path = _ESCAPE.sub(
        lambda found: os.fsdecode(bytes.fromhex(found[1])), uri.removeprefix("file://")
    )
    # Only joined: a listed '~a.wav' is a file of that name.
    return Path.cwd() / path


def _local_version(path: str, real_bounds: str | None) -> tuple[int, str]:
    """Size in bytes and mtime in ns of what lies at `path`; 0 and '' for what cannot be followed.

    No file that is there has '' as its etag, so one that appears later counts as changed.
    """
    try:
        found = os.stat(path)
    except OSError:
        return 0, ""
    if real_bounds is not None and os.path.islink(path) and not _is_within(path, real_bounds):
        return 0, LEADS_OUT
    return found.st_size, str(found.st_mtime_ns)
