"""Opens a file as audio if it may be one: regular, not empty, and not plainly something else."""

import errno
import io
import os
import stat
from pathlib import Path

from schemas.errors import ItemError, StorageError
from stages.media import first_bytes, foreign_kind

OUR_FAULT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT})
"""Errors of opening a file that say something of this machine and nothing of the file."""


def open_audio(path: Path) -> io.FileIO:
    """The file, open for reading; raises `ItemError` for what cannot be audio.

    Links are followed, because inputs may be links; what they lead to must be a regular file. FIFOs
    and devices are not opened at all: they block, never end, or do something. One that takes the
    place of a file between the look and the opening does not block it and is seen.
    """
    try:
        _check_regular(os.stat(path), path.name)
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        file = io.FileIO(os.open(path, flags), "rb")
    except OSError as error:
        raise _unreadable(error, path.name) from error
    try:
        _check_regular(os.fstat(file.fileno()), path.name)
        if file.seek(0, os.SEEK_END) == 0:
            raise ItemError("EMPTY_FILE", f"{path.name} holds no bytes; copy it again")
        kind = foreign_kind(first_bytes(file))
    except OSError as error:
        file.close()
        raise _unreadable(error, path.name) from error
    except ItemError:
        file.close()
        raise
    if kind:
        file.close()
        raise ItemError("NOT_AUDIO", f"{path.name} looks like {kind}; wanted an audio file")
    return file


def _check_regular(status: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ItemError("UNREADABLE", f"{name} is no regular file; wanted an audio file")


def _unreadable(error: OSError, name: str) -> ItemError | StorageError:
    reason = error.strerror or str(error)
    if error.errno in OUR_FAULT:
        return StorageError(f"{name} cannot be opened: {reason}; this machine has run out of it")
    return ItemError("UNREADABLE", f"{name} cannot be read: {reason}")
