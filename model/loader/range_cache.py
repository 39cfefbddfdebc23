"""A folder on this machine with byte ranges of files that are far away, within a bound."""

import os
import threading
from contextlib import suppress
from pathlib import Path

from schemas.errors import StorageError
from schemas.ids import digest

_ENDING = ".range"
RangeKey = tuple[str, int, int]
"""SHA-256 of the file, first byte, one past the last: a file that is replaced has other keys."""


class RangeCache:
    """The ranges used last, at most `max_bytes` of them. Several processes may share the folder."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self.max_bytes = folder, max_bytes
        self._lock = threading.Lock()

    def get(self, key: RangeKey) -> bytes | None:
        """The range, if it is here; it then counts as used."""
        path = self._path(key)
        try:
            data = path.read_bytes()
            os.utime(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed(error) from error
        return data if len(data) == key[2] - key[1] else None

    def put(self, key: RangeKey, data: bytes | memoryview) -> None:
        """Keeps the range and drops those used least lately; one above the bound is not kept."""
        if len(data) > self.max_bytes:
            return
        path = self._path(key)
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            with self._lock:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._make_room(len(data))
                part.write_bytes(data)
                part.replace(path)
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            raise self._failed(error) from error

    def _make_room(self, num_bytes: int) -> None:
        kept = []
        for path in self.folder.glob(f"*{_ENDING}"):
            with suppress(FileNotFoundError):  # another process may have dropped it
                about = path.stat()
                kept.append((about.st_mtime_ns, about.st_size, path))
        too_many = sum(size for _, size, _ in kept) + num_bytes - self.max_bytes
        for _, size, path in sorted(kept):
            if too_many <= 0:
                break
            path.unlink(missing_ok=True)
            too_many -= size

    def _path(self, key: RangeKey) -> Path:
        return self.folder / f"{digest(*key)}{_ENDING}"

    def _failed(self, error: OSError) -> StorageError:
        return StorageError(
            f"{self.folder}: the loader's cache cannot be used ({error.strerror}); make room, or "
            "give it another folder or a lower bound"
        )
