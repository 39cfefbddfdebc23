"""Inputs on stores other than a disk: opened by scheme, and copied within limits."""

import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import fsspec
from fsspec.callbacks import Callback
from fsspec.implementations.local import LocalFileSystem

from pipeline.guarded_http import MAX_FETCH_S, guarded_http, refusal_in
from schemas.errors import ItemError, SpecError
from schemas.secret_words import without_secrets
from schemas.source import Source

ALLOWED_SCHEMES = frozenset({"file", "s3", "gs", "gcs", "az", "abfs", "http", "https", "memory"})
MAX_FETCH_BYTES = 64 << 30
"""For a store that does not say how large its file is."""


def is_local(uri: str) -> bool:
    """Whether a URI is a path on a disk of this machine."""
    # No scheme starts with a slash: '/data/a://b' is a path.
    return uri.startswith(("/", "file://")) or "://" not in uri


def open_store(uri: str, key: str = "inputs.uri") -> tuple[Any, str]:
    """The store of a URI and the place in it; raises `SpecError`, with the spec's `key`, if it is
    not accepted.
    """
    if is_local(uri):
        # Not through url_to_fs, which takes '::' in a name for a chain of filesystems. The slashes
        # at the end go, '~' and the current folder come in front.
        filesystem = LocalFileSystem()
        return filesystem, filesystem._strip_protocol(uri)
    scheme = uri.partition("://")[0]
    if scheme not in ALLOWED_SCHEMES:
        raise SpecError(
            f"{key}: the scheme {scheme!r} is not accepted "
            f"(there are: {', '.join(sorted(ALLOWED_SCHEMES))})"
        )
    try:
        if scheme in ("http", "https"):
            return guarded_http(), uri
        if "::" in uri:
            raise ValueError("'::' would chain one store to another")
        filesystem, path = fsspec.core.url_to_fs(uri)
    except (ImportError, ValueError) as error:
        raise SpecError(f"{key}: {uri!r} cannot be opened: {error}") from error
    return filesystem, path


def remote_source(filesystem: Any, path: str, info: dict[str, Any]) -> Source:
    """What a store says of a file, as an input."""
    uri = filesystem.unstrip_protocol(path)
    if info.get("size") is None:  # a page of links says nothing of what they lead to
        try:
            info = filesystem.info(path)
        except Exception:  # noqa: BLE001  (a dead link is an input that fails when its turn comes)
            return Source(uri, 0, "")
    return Source(uri, int(info["size"] or 0), etag(info))


class _Limits(Callback):
    """Counts what arrives, and ends a body that is longer or slower than it may be."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        self._max_bytes = source.size_bytes or MAX_FETCH_BYTES
        self._deadline = time.monotonic() + MAX_FETCH_S

    def relative_update(self, inc: int = 1) -> None:
        self.absolute_update(self.value + inc)

    def absolute_update(self, value: int) -> None:
        self.value = value
        if value > self._max_bytes:
            raise ItemError(
                "CHANGED", f"{self._source.uri} sends more than its {self._max_bytes} bytes"
            )
        if time.monotonic() > self._deadline:
            raise ItemError("TIMEOUT", f"{self._source.uri} did not arrive within {MAX_FETCH_S} s")


def download(source: Source, local: Path) -> None:
    """Copies an input to a local file. Raises `ItemError`, or whatever the store's library does."""
    try:
        filesystem, path = open_store(source.uri)
    except SpecError as error:
        raise ItemError("FORBIDDEN_URI", f"{source.uri}: {error}") from error
    if not {"..", "."}.isdisjoint(unquote(path).split("/")):
        raise ItemError("FORBIDDEN_URI", f"{source.uri} has steps in it that lead elsewhere")
    if etag(filesystem.info(path)) != source.etag:
        raise ItemError("CHANGED", f"{source.uri} changed since it was listed; run with --fresh")
    filesystem.get_file(path, str(local), callback=_Limits(source))
    arrived = local.stat().st_size
    if source.size_bytes and arrived != source.size_bytes:
        raise ItemError(
            "UNREADABLE", f"{source.uri} broke off after {arrived} of {source.size_bytes} bytes"
        )


def words(error: Exception) -> str:
    """What went wrong in a store, in one line and without what URLs may hold."""
    refused = refusal_in(error)
    return " ".join(without_secrets(str(refused or error) or type(error).__name__).split())


def etag(info: dict[str, Any]) -> str:
    """What tells one version of a file from another; '' where the store says nothing."""
    known = ("ETag", "etag", "md5Hash", "content_md5", "mtime", "LastModified", "Last-Modified")
    for key in known:
        if info.get(key):
            return str(info[key]).strip('"')
    return ""
