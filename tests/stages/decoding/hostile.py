"""A reader of files that attacks instead, if the file is named after an attack.

It runs inside the decoder's process in place of the real one, as code would that a crafted file has
smuggled in. The file's content is the attack's argument. An attack that was refused says with what.
"""

import contextlib
import ctypes
import errno
import io
import mmap
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import ItemError
from stages.decoding.contents import Contents, Limits
from stages.decoding.reading import read_audio
from stages.decoding.samples import SampleWriter

LIBC = ctypes.PyDLL(None)  # which keeps the interpreter's lock
KEPT: list[object] = []


def read(file: io.FileIO, name: str, limits: Limits, writer: SampleWriter) -> Contents:
    """Attacks, reads honestly, or reads and lies."""
    if name == "starve":
        _leave_no_memory()
    if name in LIES:
        contents = read_audio(file, name, limits, writer)
        return LIES[name](contents, writer)
    if name not in ATTACKS:
        return read_audio(file, name, limits, writer)
    try:
        done = ATTACKS[name](file.read().decode(errors="replace"))
    except OSError as error:
        done = errno.errorcode[error.errno or 0]
    raise ItemError("DECODE_ERROR", f"{name}: {done}")


def _eat(_: str) -> None:
    while True:
        KEPT.append(np.empty(1 << 28, np.uint8))


def _leave_no_memory() -> None:
    for size in (1 << 28, 1 << 24, 1 << 20, 1 << 16, 1 << 12):
        with contextlib.suppress(MemoryError):
            while True:
                KEPT.append(np.empty(size, np.uint8))


def _grow(megabytes: str) -> None:
    KEPT.append(np.ones(int(megabytes) << 20, np.uint8))


def _spin(_: str) -> None:
    while True:
        pass


def _say(content: str) -> None:
    words = bytes.fromhex(content)
    LIBC.send(int(sys.argv[1]), words, len(words), 0)
    time.sleep(3600)


def _answer(content: str) -> None:
    _say((len(content).to_bytes(4, "big") + content.encode()).hex())


def _hang_up(_: str) -> None:
    os.close(int(sys.argv[1]))
    time.sleep(3600)


def _connect(port: str) -> None:
    with socket.socket() as caller:
        caller.connect(("127.0.0.1", int(port)))


ATTACKS: dict[str, Callable[[str], object]] = {
    "segfault": lambda _: ctypes.string_at(0),
    "abort": lambda _: LIBC.abort(),
    "exit": lambda _: os._exit(0),
    "raise": lambda text: KEPT.index(text),
    "eat": _eat,
    "grow": _grow,
    "spin": _spin,
    "sleep": lambda _: LIBC.sleep(3600),
    "say": _say,
    "answer": _answer,
    "hang-up": _hang_up,
    "write": lambda path: Path(path).write_text("x"),
    "read": lambda path: Path(path).read_text(),
    "delete": os.unlink,
    "connect": _connect,
    "fork": lambda _: os.fork(),
    "run": lambda path: os.posix_spawn(path, [path], {}),
    "kill": lambda pid: os.kill(int(pid), signal.SIGTERM),
    "environment": lambda _: sorted(os.environ),
}


def _hold(contents: Contents, writer: SampleWriter) -> Contents:
    KEPT.append(mmap.mmap(writer._fd, 4096))
    return contents


def _not_numbers(contents: Contents, writer: SampleWriter) -> Contents:
    os.pwrite(writer._fd, np.array([np.nan], np.float32).tobytes(), 400)
    return contents


def _shrink(contents: Contents, writer: SampleWriter) -> Contents:
    os.ftruncate(writer._fd, 0)
    return contents


def _overflow(contents: Contents, writer: SampleWriter) -> Contents:
    while True:
        writer.append(np.ones(1 << 20, np.float32))


def _stretched(contents: Contents, **changes: Any) -> Contents:
    return replace(contents, stretches=(replace(contents.stretches[0], **changes),))


LIES: dict[str, Callable[[Contents, SampleWriter], Contents]] = {
    "hold": _hold,
    "not-numbers": _not_numbers,
    "shrink": _shrink,
    "overflow": _overflow,
    "longer": lambda contents, _: _stretched(contents, num_samples=1 << 40),
    "slower": lambda contents, _: _stretched(contents, sample_rate_hz=1),
    "wider": lambda contents, _: _stretched(contents, channels=10_000),
    "negative": lambda contents, _: _stretched(contents, num_samples=-5),
    "endless": lambda contents, _: replace(contents, claimed_s=float("inf")),
    "wordy": lambda contents, _: replace(contents, codec="x" * 5000),
    "many": lambda contents, _: replace(contents, stretches=contents.stretches * 2000),
}
