"""An output on an object store: objects under a prefix, made whole or not at all.

Needs one thing of a store beyond reading and writing: to make an object only if there is none of
that name (`If-None-Match: *` on S3, `ifGenerationMatch=0` on Google's). What a store without it
would do to the log, it does to a probe first, and is refused.
"""

import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.remote_inputs import is_local, open_store
from pipeline.store import UnknownOutcomeError
from schemas.errors import SpecError, StorageError
from schemas.secret_words import without_secrets

SCHEMES = frozenset({"s3", "gs", "gcs", "memory"})
"""Of stores whose filesystem knows `mode="create"`; `memory` is one process's, for notebooks."""
PROBE = ".probe-"
"""How the names of probes begin; one is there for a moment only."""
_REFUSED = (PermissionError, FileNotFoundError, IsADirectoryError, NotADirectoryError)
"""Answers that say for certain that nothing was written."""


@dataclass(frozen=True, slots=True)
class ObjectStat:
    """What a store says of an object."""

    size_bytes: int
    modified: float
    """Seconds since 1970 by the store's clock; 0 where it does not say."""


class Bucket:
    """Objects under `uri`. Names are relative to it, with `/` between folders.

    Every method raises `StorageError` where the store fails; `SpecError` for a URI that is no
    place for an output.
    """

    def __init__(self, uri: str) -> None:
        scheme = uri.partition("://")[0]
        if is_local(uri) or scheme not in SCHEMES:
            raise SpecError(
                f"output: {uri!r} is no place for an output; wanted a folder, or a URI of a store "
                f"that makes an object only if there is none ({', '.join(sorted(SCHEMES))})"
            )
        self.uri = uri.rstrip("/")
        self._filesystem, prefix = open_store(self.uri, "output")
        self._prefix = prefix.rstrip("/")
        if scheme != "memory" and "/" not in self._prefix.strip("/"):
            raise SpecError(f"output: {uri!r} is a whole bucket; name a folder in it")

    def read(self, name: str) -> bytes:
        """All bytes of an object; raises `FileNotFoundError` if there is none."""
        try:
            return bytes(self._filesystem.cat_file(self._path(name)))
        except FileNotFoundError:
            raise
        except Exception as error:
            raise self._failed(name, error) from error

    def put(self, name: str, file: Path) -> None:
        """Makes an object of a file, over an earlier one."""
        try:
            self._filesystem.put_file(str(file), self._path(name))
        except Exception as error:
            raise self._failed(name, error) from error

    def create(self, name: str, data: bytes) -> bool:
        """Makes an object unless that name is taken, and then returns False.

        Raises `UnknownOutcomeError` where the store does not say whether it exists now.
        """
        try:
            self._filesystem.pipe_file(self._path(name), data, mode="create")
        except FileExistsError:
            return False
        except _REFUSED as error:
            raise self._failed(name, error) from error
        except Exception as error:
            # Whoever made it, perhaps this very call: the log says which, see `commit.py`. Some
            # stores name a taken name in words that their filesystem does not know.
            if self.stat(name) is not None:
                return False
            raise UnknownOutcomeError(str(self._failed(name, error))) from error
        return True

    def stat(self, name: str) -> ObjectStat | None:
        """What is known of an object; None if there is none."""
        try:
            return _stat(self._filesystem.info(self._path(name), refresh=True))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._failed(name, error) from error

    def list(self, folder: str = "") -> Mapping[str, ObjectStat]:
        """Objects under a folder, by name, in order of name."""
        start = f"{self._prefix}/"
        try:
            self._filesystem.invalidate_cache()
            found = self._filesystem.find(self._path(folder).rstrip("/"), detail=True)
        except FileNotFoundError:
            return {}
        except Exception as error:
            raise self._failed(folder, error) from error
        return {
            path.removeprefix(start): _stat(info)
            for path, info in sorted(found.items())
            # Consoles make objects of no bytes that stand for folders.
            if path.startswith(start) and not path.endswith("/") and path != start
        }

    def delete(self, name: str) -> None:
        """Removes an object for good; one that is not there is no error."""
        try:
            with suppress(FileNotFoundError):
                self._filesystem.rm_file(self._path(name))
        except Exception as error:
            raise self._failed(name, error) from error

    def check(self) -> None:
        """Raises `StorageError` for a store that writes over what it was told to spare."""
        name = f"{PROBE}{secrets.token_hex(6)}"
        try:
            if not self.create(name, b"first") or self.create(name, b"second"):
                raise StorageError(
                    f"{self.uri}: this store makes an object although there is one of that name, "
                    "so two runs could overwrite each other's commits; wanted put-if-absent "
                    "(If-None-Match), which S3 has; use another store or a folder"
                )
        finally:
            with suppress(StorageError):
                self.delete(name)

    def _path(self, name: str) -> str:
        return f"{self._prefix}/{name}"

    def _failed(self, name: str, error: Exception) -> StorageError:
        said = without_secrets(" ".join(str(error).split())) or type(error).__name__
        return StorageError(
            f"{self.uri}/{name}: {said}; check that the bucket exists, that your credentials may "
            "read, write, list and delete there, and the network, then run the same command again "
            "(what was committed stays)"
        )


def _stat(info: Mapping[str, Any]) -> ObjectStat:
    # S3, Google's and fsspec's own memory each have a name for it.
    modified = next(
        (info[key] for key in ("LastModified", "mtime", "updated", "created") if info.get(key)), 0.0
    )
    if isinstance(modified, str):
        modified = datetime.fromisoformat(modified)
    if isinstance(modified, datetime):
        modified = modified.timestamp()
    return ObjectStat(int(info.get("size") or 0), float(modified))
