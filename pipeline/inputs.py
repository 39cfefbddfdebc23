"""Lists the inputs of a job and fetches one when its turn comes."""

import fnmatch
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from schemas.errors import ItemError, SpecError
from schemas.job import InputsSpec
from schemas.source import Source

ALLOWED_SCHEMES = frozenset({"file", "s3", "gs", "gcs", "az", "abfs", "http", "https", "memory"})


@dataclass(frozen=True)
class Listing:
    """The inputs in order of URI, and how many files were left alone."""

    sources: tuple[Source, ...]
    num_left_alone: int


def list_inputs(spec: InputsSpec) -> Listing:
    """Every input of the job; raises `SpecError` when there is none. Reads no file's content."""
    filesystem, root = _open_store(spec.uri)
    try:
        if filesystem.isfile(root):
            entries = {root: filesystem.info(root)}
            left_alone = 0
        elif any(character in spec.uri for character in "*?["):
            entries = filesystem.glob(root, detail=True)
            entries = {path: info for path, info in entries.items() if info["type"] != "directory"}
            left_alone = 0
        elif filesystem.isdir(root):
            found = filesystem.find(root, detail=True)
            entries = {p: info for p, info in found.items() if _wanted(p, root, spec)}
            left_alone = len(found) - len(entries)
        else:
            raise SpecError(f"inputs.uri: there is nothing at {spec.uri!r} (looked at {root!r})")
    except (OSError, ImportError) as error:
        raise SpecError(f"inputs.uri: {spec.uri!r} cannot be listed: {error}") from error
    if not entries:
        raise SpecError(
            f"inputs.uri: {left_alone} files under {spec.uri!r}, but none matches inputs.include; "
            "name patterns there, for example ['**/*.wav']"
        )
    local = isinstance(filesystem, LocalFileSystem)
    base = Path.cwd()
    sources = []
    for path, info in sorted(entries.items()):
        sources.append(
            Source(
                uri=_shown(path, base) if local else filesystem.unstrip_protocol(path),
                size_bytes=int(info["size"] or 0),
                etag=_etag(path, info, local),
            )
        )
    return Listing(tuple(sources[: spec.limit]), left_alone)


@contextmanager
def fetched(source: Source) -> Iterator[Path]:
    """A local file with the bytes that were listed; a copy of a remote one lives for the block.

    Raises `ItemError` UNREADABLE for what is no regular file, and CHANGED for a file that is not
    the one that was listed.
    """
    filesystem, path = _open_store(source.uri)
    if isinstance(filesystem, LocalFileSystem):
        local = Path(path)
        _check_regular(local, source)
        yield local
        return
    folder = Path(tempfile.mkdtemp(prefix="audiomill-fetch-"))
    try:
        # The name is ours, not the URI's: a URI never becomes a local path.
        local = folder / "input"
        try:
            info = filesystem.info(path)
            if _etag(path, info, local=False) != source.etag:
                raise ItemError(
                    "CHANGED", f"{source.uri} changed since it was listed; run with --fresh"
                )
            filesystem.get_file(path, str(local))
        except OSError as error:
            raise ItemError("UNREADABLE", f"{source.uri} cannot be fetched: {error}") from error
        yield local
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


def _open_store(uri: str) -> tuple[Any, str]:
    scheme = uri.partition("://")[0] if "://" in uri else "file"
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
    try:
        return Path(path).relative_to(base).as_posix()
    except ValueError:
        return path


def _etag(path: str, info: dict[str, Any], local: bool) -> str:
    if local:
        return str(Path(path).stat().st_mtime_ns)
    for key in ("ETag", "etag", "md5Hash", "content_md5", "mtime", "LastModified"):
        if info.get(key):
            return str(info[key]).strip('"')
    return ""
