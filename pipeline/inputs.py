"""Lists the inputs of a job and fetches one when its turn comes."""

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

import fsspec
from fsspec.implementations.local import LocalFileSystem

from schemas.errors import ItemError, SpecError
from schemas.job import InputsSpec
from schemas.source import Source

ALLOWED_SCHEMES = frozenset({"file", "s3", "gs", "gcs", "az", "abfs", "http", "https", "memory"})

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


def list_inputs(spec: InputsSpec) -> Listing:
    """Every input of the job; raises `SpecError` when there is none. Reads no file's content.

    A name that cannot be opened (a link to nothing, a loop of links) is an input like any other: it
    fails when its turn comes, and the job goes on.
    """
    filesystem, root = _open_store(spec.uri)
    try:
        entries, left_alone = _found(filesystem, root, spec)
    except SpecError:
        raise
    except (OSError, ImportError, ValueError) as error:
        raise SpecError(f"inputs.uri: {spec.uri!r} cannot be listed: {error}") from error
    local = isinstance(filesystem, LocalFileSystem)
    base = Path.cwd()
    sources = []
    for path, info in sorted(entries.items()):
        if local:
            sources.append(Source(_shown(path, base), *_local_version(path)))
        else:
            uri = filesystem.unstrip_protocol(path)
            sources.append(Source(uri, int(info["size"] or 0), _etag(info)))
    return Listing(tuple(sources[: spec.limit]), left_alone)


@contextmanager
def fetched(source: Source) -> Iterator[Path]:
    """A local file with the bytes that were listed; a copy of a remote one lives for the block.

    Its path is UTF-8 text: a local file whose name is not comes as a link that lives for the block.

    Raises `ItemError` UNREADABLE for what is no regular file, and CHANGED for a file that is not
    the one that was listed.
    """
    if _is_local(source.uri):
        local = _local_path(source.uri)
        _check_regular(local, source)
        if _is_text(local):
            yield local
            return
        # Under a name of ours: messages quote the name, and what is no text fits in no row.
        with _temporary_folder() as folder:
            (folder / "input").symlink_to(local)
            yield folder / "input"
        return
    filesystem, path = _open_store(source.uri)
    with _temporary_folder() as folder:
        # The name is ours, not the URI's: a URI never becomes a local path.
        local = folder / "input"
        try:
            info = filesystem.info(path)
            if _etag(info) != source.etag:
                raise ItemError(
                    "CHANGED", f"{source.uri} changed since it was listed; run with --fresh"
                )
            filesystem.get_file(path, str(local))
        except OSError as error:
            raise ItemError("UNREADABLE", f"{source.uri} cannot be fetched: {error}") from error
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


def _is_local(uri: str) -> bool:
    # No scheme starts with a slash: '/data/a://b' is a path.
    return uri.startswith(("/", "file://")) or "://" not in uri


def _open_store(uri: str) -> tuple[Any, str]:
    if _is_local(uri):
        # Not through url_to_fs, which takes '::' in a name for a chain of filesystems. The slashes
        # at the end go, '~' and the current folder come in front.
        filesystem = LocalFileSystem()
        return filesystem, filesystem._strip_protocol(uri)
    scheme = uri.partition("://")[0]
    if scheme not in ALLOWED_SCHEMES:
        raise SpecError(
            f"inputs.uri: the scheme {scheme!r} is not accepted "
            f"(there are: {', '.join(sorted(ALLOWED_SCHEMES))})"
        )
    try:
        filesystem, path = fsspec.core.url_to_fs(uri)
    except (ImportError, ValueError) as error:
        raise SpecError(f"inputs.uri: {uri!r} cannot be opened: {error}") from error
    return filesystem, path


def _found(filesystem: Any, root: str, spec: InputsSpec) -> tuple[dict[str, dict[str, Any]], int]:
    """Path to the store's facts of every input, never empty, and the number left alone."""
    if filesystem.isfile(root):
        return {root: filesystem.info(root)}, 0
    # A folder before a glob: 'show [2024]' is the name of one.
    if filesystem.isdir(root):
        found = filesystem.find(root, detail=True)
        entries = {p: info for p, info in found.items() if _wanted(p, root, spec)}
        if not entries:
            raise SpecError(
                f"inputs.uri: {len(found)} files under {spec.uri!r}, but none matches "
                "inputs.include; name patterns there, for example ['**/*.wav']"
            )
        return entries, len(found) - len(entries)
    if not glob.has_magic(spec.uri):
        raise SpecError(f"inputs.uri: there is nothing at {spec.uri!r} (looked at {root!r})")
    here = f"{os.getcwd()}/"
    if _is_local(spec.uri) and not spec.uri.startswith(("/", "file:/")) and root.startswith(here):
        # The pattern is what the user wrote, not what the current folder happens to be called.
        root = glob.escape(here) + root.removeprefix(here)
    found = filesystem.glob(root, detail=True)
    entries = {path: info for path, info in found.items() if info["type"] != "directory"}
    if not entries:
        raise SpecError(
            f"inputs.uri: no file matches the glob {spec.uri!r}; "
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


def _local_version(path: str) -> tuple[int, str]:
    """Size in bytes and mtime in ns of what lies at `path`; 0 and '' for what cannot be followed.

    No file that is there has '' as its etag, so one that appears later counts as changed.
    """
    try:
        found = os.stat(path)
    except OSError:
        return 0, ""
    return found.st_size, str(found.st_mtime_ns)


def _etag(info: dict[str, Any]) -> str:
    for key in ("ETag", "etag", "md5Hash", "content_md5", "mtime", "LastModified"):
        if info.get(key):
            return str(info[key]).strip('"')
    return ""
