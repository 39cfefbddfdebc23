"""Byte ranges of files in a local folder or any object store that fsspec knows."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from model.loader.blocks import READ_BUFFER
from model.loader.range_cache import RangeCache
from schemas.errors import OutputError, StorageError
from schemas.secret_words import without_secrets


class Storage:
    """The folder at `uri`. What is far away is kept in `cache`, as far as that has room."""

    def __init__(self, uri: str, cache: RangeCache) -> None:
        self.uri = str(uri).rstrip("/")
        try:
            self._fs, root = fsspec.core.url_to_fs(self.uri)
        except (ImportError, ValueError) as error:
            raise OutputError(
                f"{self.shown}: no way to read it ({without_secrets(str(error))}); wanted a "
                "local folder or a URL that fsspec knows, with its package installed"
            ) from error
        self._root = str(root).rstrip("/")
        self._cache = None if isinstance(self._fs, LocalFileSystem) else cache

    @property
    def local_folder(self) -> Path | None:
        """Where it lies on this machine; None for an object store."""
        return Path(self._root) if self._cache is None else None

    @property
    def shown(self) -> str:
        """How messages call the folder."""
        return without_secrets(self.uri)

    @property
    def exists(self) -> bool:
        """Whether there is such a folder; in a store, whether anything lies under that name."""
        folder = self.local_folder
        return bool(self.names("")) if folder is None else folder.is_dir()

    def inside(self, name: str) -> str:
        """How messages call the file."""
        return f"{self.shown}/{name}"

    def read(self, name: str, start: int, stop: int, *, sha256: str) -> memoryview:
        """Bytes `start` to `stop` of a file whose digest is known, until this thread reads again.

        Raises `OutputError` for a file that is gone or too short, `StorageError` for a store that
        does not answer.
        """
        key = (sha256, start, stop)
        if self._cache is None:
            data = self._read_here(name, start, stop)
        elif (kept := self._cache.get(key)) is not None:
            return memoryview(kept)
        else:
            data = memoryview(self._ask(name, start, stop))
        if len(data) != stop - start:
            raise OutputError(
                f"{self.inside(name)}: {len(data)} bytes where {stop - start} were wanted from "
                f"{start} on; the file was cut off or replaced, or its store serves no ranges: "
                "restore it"
            )
        if self._cache is not None:
            self._cache.put(key, data)
        return data

    def _read_here(self, name: str, start: int, stop: int) -> memoryview:
        buffer = READ_BUFFER.of(stop - start)
        try:
            with open(self._path(name), "rb", buffering=0) as file:
                file.seek(start)
                found = 0
                while found < len(buffer) and (more := file.readinto(buffer[found:])):
                    found += more
        except FileNotFoundError as error:
            raise self._gone(name) from error
        except OSError as error:
            raise self._failed(name, error) from error
        return buffer[:found]

    def will_need(self, name: str, start: int, stop: int) -> None:
        """Asks the system to have bytes of a local file in memory soon; no promise, no error."""
        with suppress(OSError, AttributeError):  # not every system knows it
            descriptor = os.open(self._path(name), os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, start, stop - start, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(descriptor)

    def read_whole(self, name: str) -> bytes:
        """All bytes of a small file."""
        return self._ask(name, None, None)

    def names(self, folder: str) -> Sequence[str]:
        """Names of the files in `folder`, sorted; none where there is no such folder."""
        try:
            listed = self._fs.ls(self._path(folder), detail=False)
        except FileNotFoundError:
            return []
        except Exception as error:
            raise self._failed(folder, error) from error
        return sorted(str(path).rstrip("/").rpartition("/")[2] for path in listed)

    def _ask(self, name: str, start: int | None, stop: int | None) -> bytes:
        try:
            return bytes(self._fs.cat_file(self._path(name), start=start, end=stop))
        except FileNotFoundError as error:
            raise self._gone(name) from error
        except Exception as error:  # each store raises what its own package has
            raise self._failed(name, error) from error

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _gone(self, name: str) -> OutputError:
        return OutputError(
            f"{self.inside(name)} is committed but is not there; if 'audiomill forget' took it, "
            "read the output's newest version, else restore it or run the job into a new output"
        )

    def _failed(self, name: str, error: Exception) -> StorageError:
        # A store's error may hold the whole request: a signed URL, or the headers with a key.
        said = without_secrets(repr(error))
        return StorageError(
            f"{self.inside(name)}: the store does not give it ({said}); check access and the "
            "network, then start again"
        )
