"""Answers of an endpoint by the digest of what was asked, in memory and in a folder."""

import os
import tempfile
import threading
from collections import OrderedDict
from pathlib import Path

from schemas.errors import StorageError

_MAX_IN_MEMORY = 4096
"""Enough that a batch which is split and asked again finds what was answered before."""


class AnswerCache:
    """Answer texts by key; a key is a hex digest. Safe to share between threads and processes.

    With a folder, answers outlive the process: one file each, complete or absent. They hold what
    the endpoint said about transcripts, so the folder is made for its owner alone.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._recent: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()
        if folder is not None:
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise StorageError(
                    f"cache_dir: {folder} cannot be made ({error.strerror}); name a folder that "
                    "this user may write to, or leave cache_dir out"
                ) from error

    def get(self, key: str) -> str | None:
        """The answer, or None where nobody asked before."""
        with self._lock:
            if key in self._recent:
                self._recent.move_to_end(key)
                return self._recent[key]
        if self._folder is None:
            return None
        try:
            answer = self._file(key).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            return None  # damaged: it is asked again and written anew
        except OSError as error:
            raise StorageError(f"cache_dir: {self._file(key)} cannot be read: {error}") from error
        self._remember(key, answer)
        return answer

    def put(self, key: str, answer: str) -> None:
        """Keeps an answer; raises `StorageError` where the folder cannot take it."""
        self._remember(key, answer)
        if self._folder is None:
            return
        path = self._file(key)
        temporary = ""
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".answer-")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(answer)
            Path(temporary).replace(path)
        except OSError as error:
            if temporary:
                Path(temporary).unlink(missing_ok=True)
            raise StorageError(f"cache_dir: {path} cannot be written: {error}") from error

    def forget(self, key: str) -> None:
        """Takes an answer out of memory; its file stays until `put` overwrites it."""
        with self._lock:
            self._recent.pop(key, None)

    def _remember(self, key: str, answer: str) -> None:
        with self._lock:
            self._recent[key] = answer
            self._recent.move_to_end(key)
            if len(self._recent) > _MAX_IN_MEMORY:
                self._recent.popitem(last=False)

    def _file(self, key: str) -> Path:
        # Two levels, so that no folder holds millions of files.
        return Path(str(self._folder)) / key[:2] / f"{key}.json"
