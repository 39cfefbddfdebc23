"""Faults at chosen system calls of a live process, by strace: no line of the program is changed."""

import re
import shutil
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ATTACH_TIMEOUT_S = 60.0
CALLS = (
    *("write", "pwrite64", "writev", "fsync", "fdatasync", "sync_file_range", "ftruncate"),
    *("fallocate", "rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat"),
    *("mkdir", "mkdirat", "rmdir", "symlink", "symlinkat", "openat"),
)
"""All that change a disk. `openat` counts only where it may make a file."""
_LINE = re.compile(r"(\d+) +([a-z0-9_]+)\((.*)")


class NotHereError(Exception):
    """This machine cannot do what the faults need; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Point:
    """A system call: the n-th of that name in its thread, counted from when it was attached to."""

    call: str
    number: int

    def inject(self, what: str) -> str:
        """For strace; `what` is, for example, `signal=SIGKILL` or `error=ENOSPC`."""
        return f"{self.call}:{what}:when={self.number}"

    def __str__(self) -> str:
        return f"{self.call} {self.number}"


@contextmanager
def traced(pid: int, log: Path, inject: str | None = None) -> Iterator[None]:
    """Attached to a process that waits; returns when the process has ended, or lets go of it."""
    command = [_strace(), "-f", "-qq", "-e", "signal=none", "-e", f"trace={','.join(CALLS)}"]
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
    for line in log.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue  # the second half of a call that another thread interrupted, or an end
        thread, call, arguments = match.groups()
        seen[thread][call] += 1
        if call != "openat" or "O_CREAT" in arguments:
            found.setdefault(Point(call, seen[thread][call]))
    return list(found)


def _strace() -> str:
    path = shutil.which("strace")
    if path is None:
        raise NotHereError("strace is not installed (Debian's package is called strace)")
    return path


def _is_traced(pid: int) -> bool:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("TracerPid:"):
            return line.split()[1] != "0"
    return False
