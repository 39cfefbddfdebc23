"""Faults at chosen system calls of a live process: no line of the program is changed.

strace puts them in wherever it may attach; where not, `failpoints.py` does.
"""

import re
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

ATTACH_TIMEOUT_S = 60.0
CALLS = (
    *("write", "pwrite64", "writev", "fsync", "fdatasync", "sync_file_range", "ftruncate"),
    *("fallocate", "rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat"),
    *("mkdir", "mkdirat", "rmdir", "symlink", "symlinkat", "sendfile", "copy_file_range"),
    "openat",
)
"""All that change a disk. `openat` counts only where it may make a file."""
INJECTED = "(INJECTED"
_LINE = re.compile(r"(\d+) +([a-z0-9_]+)\((.*)")


class NotHereError(Exception):
    """This machine cannot do what the faults need; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Point:
    """A system call: the n-th of that name in its thread, counted from when it was attached to."""

    call: str
    number: int

    def inject(self, what: str) -> str:
        """For a tracer; `what` is `signal=SIGKILL` or, for example, `error=ENOSPC`."""
        return f"{self.call}:{what}:when={self.number}"

    def __str__(self) -> str:
        return f"{self.call} {self.number}"


class Tracer(Protocol):
    """A way to watch the calls of a process, and to put a fault into one."""

    by: str
    environment: Mapping[str, str]
    """What the process needs in its own from its start."""

    def traced(
        self, pid: int, log: Path, inject: str | None = None
    ) -> AbstractContextManager[None]:
        """Attached to a process that waits, for the block; the block ends when the process has.

        `log` then holds its calls for `points` and `was_injected`.
        """


class Strace:
    """By ptrace, from outside."""

    by = "strace"
    environment: Mapping[str, str] = MappingProxyType({})

    def __init__(self) -> None:
        """Raises `NotHereError` where there is no strace, or it may not attach to a process."""
        path = shutil.which("strace")
        if path is None:
            raise NotHereError("strace is not installed (Debian's package is called strace)")
        self._path = path
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as idle:
            try:
                with self.traced(idle.pid, Path("/dev/null")):
                    idle.communicate(b"\n")
            finally:
                idle.kill()

    @contextmanager
    def traced(self, pid: int, log: Path, inject: str | None = None) -> Iterator[None]:
        command = [self._path, "-f", "-qq", "-e", "signal=none", "-e", f"trace={','.join(CALLS)}"]
        command += ["-e", f"inject={inject}"] if inject else []
        with subprocess.Popen(
            [*command, "-o", str(log), "-p", str(pid)], stderr=subprocess.PIPE, text=True
        ) as tracer:
            try:
                deadline = time.monotonic() + ATTACH_TIMEOUT_S
                while not _is_traced(pid):
                    if tracer.poll() is not None or time.monotonic() > deadline:
                        tracer.kill()
                        said = tracer.communicate()[1].strip().replace("\n", " ")
                        raise NotHereError(f"strace cannot attach to a process here: {said}")
                    time.sleep(0.002)
                yield
            finally:
                if tracer.poll() is None and not Path(f"/proc/{pid}").exists():
                    tracer.wait(ATTACH_TIMEOUT_S)
                tracer.terminate()


def points(log: Path) -> list[Point]:
    """The system calls of a trace that write, in order of their first thread to make them."""
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    found: dict[Point, None] = {}
    for thread, call, arguments in _calls(log):
        seen[thread][call] += 1
        if _writes(call, arguments):
            found.setdefault(Point(call, seen[thread][call]))
    return list(found)


def num_calls(log: Path) -> Counter[str]:
    """How often each system call that writes is in a trace, over all threads."""
    return Counter(call for _, call, arguments in _calls(log) if _writes(call, arguments))


def was_injected(log: Path) -> bool:
    """Whether an error was put into one of the calls of a trace."""
    return INJECTED in log.read_text(errors="replace")


def _calls(log: Path) -> Iterator[tuple[str, str, str]]:
    """Thread, name and arguments."""
    for line in log.read_text(errors="replace").splitlines():
        # What does not match is the second half of a call that another thread interrupted, or an
        # end.
        if match := _LINE.match(line):
            thread, call, arguments = match.groups()
            yield thread, call, arguments


def _writes(call: str, arguments: str) -> bool:
    return call != "openat" or "O_CREAT" in arguments


def _is_traced(pid: int) -> bool:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("TracerPid:"):
            return line.split()[1] != "0"
    return False
