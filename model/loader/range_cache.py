"""A folder on this machine with byte ranges of files that are far away, within a bound."""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from schemas.errors import StorageError
from schemas.ids import digest

_ENDING = ".range"
_PART_ENDING = ".part"
_PART_AGE_S = 3600.0
"""A file that is half written for longer is of a process that was killed."""
_LOOKS = 16
"""The folder is looked at again after a share of 1/16 of the bound was put into it."""
RangeKey = tuple[str, int, int]
"""SHA-256 of the file, first byte, one past the last: a file that is replaced has other keys."""


class RangeCache:
    """The ranges used last, at most `max_bytes` of them.

    Several processes may share the folder; each beyond the first may add 1/16 to the bound.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self.max_bytes = folder, max_bytes
        self._lock = threading.Lock()
        self._room = 0
        """Bytes that may be put before the folder is looked at again."""

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
        part = path.with_suffix(f".{os.getpid()}{_PART_ENDING}")
        try:
            with self._lock:
                self.folder.mkdir(parents=True, exist_ok=True)
                if len(data) > self._room:
                    self._make_room(len(data))
                self._room -= len(data)
                part.write_bytes(data)
                part.replace(path)
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            raise self._failed(error) from error

    def _make_room(self, num_bytes: int) -> None:
        """Looks at the whole folder, and drops more than is needed where the bound is reached.

        Else a full cache would be looked at for every range.
        """
        kept = []
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):  # another process may have dropped it
                about = path.stat()
                if path.suffix == _ENDING:
                    kept.append((about.st_mtime_ns, about.st_size, path))
                elif path.suffix == _PART_ENDING and time.time() - about.st_mtime > _PART_AGE_S:
                    path.unlink()
        held = sum(size for _, size, _ in kept)
        share = self.max_bytes // _LOOKS
        if held + num_bytes > self.max_bytes:
            for _, size, path in sorted(kept):
                if held + num_bytes <= self.max_bytes - share:
                    break
                path.unlink(missing_ok=True)
                held -= size
        self._room = max(num_bytes, min(share, self.max_bytes - held))

    def _path(self, key: RangeKey) -> Path:
        return self.folder / f"{digest(*key)}{_ENDING}"

    def _failed(self, error: OSError) -> StorageError:
        return StorageError(
            f"{self.folder}: the loader's cache cannot be used ({error.strerror}); make room, or "
            "give it another folder or a lower bound"
        )
