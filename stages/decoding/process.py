"""A child process and the line to it: started, asked, measured, ended with all that it began."""

import contextlib
import ctypes
import json
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from schemas.errors import StorageError
from stages.decoding.child import OUT_OF_MEMORY_STATUS
from stages.decoding.wire import receive, send

_START_TIMEOUT_S = 180.0
_KILL_TIMEOUT_S = 30.0
_PF_EXITING = 0x4  # of the flags in /proc/PID/stat, as in linux/sched.h
_ENVIRONMENT = {
    # Nothing of ours: an environment holds secrets. One thread, because the filter allows no more.
    "LC_ALL": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
_KEPT = ("LD_LIBRARY_PATH", "PYTHONHOME")  # without these some installations find no libraries

_log = logging.getLogger(__name__)


class ChildDiedError(Exception):
    """The child is no more. `error_class` is one of `schemas.failures`; the text says what it did,
    e.g. `died of SIGSEGV`."""

    def __init__(self, error_class: str, how: str) -> None:
        super().__init__(how)
        self.error_class = error_class


class ChildProcess:
    """`stages.decoding.child` with the named function. Raises `StorageError` if it does not start.

    It dies with the thread that made this object, and when this object is collected.
    """

    def __init__(self, function: str) -> None:
        _see_how_children_end()
        self._line, theirs = socket.socketpair()
        with theirs:
            command = ["-P", "-s", "-B", "-m", "stages.decoding.child"]
            arguments = [str(theirs.fileno()), str(os.getpid()), function]
            try:
                self._process = subprocess.Popen(
                    [sys.executable, *command, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    cwd="/",
                    env=_environment(),
                    start_new_session=True,
                )
            except OSError as error:
                self._line.close()
                raise StorageError(
                    f"the decoder's process cannot be started: {error}; this machine is out of "
                    "processes or memory, or the Python that runs has gone"
                ) from error
        self.end = weakref.finalize(self, _end, self._process, self._line, os.getpid())
        """Kills it and its whole process group, and waits for it. May be called again."""
        self.pid = self._process.pid
        self._cpu_s = 0.0
        self.held = self._greeting()
        """What confines it beyond limits; see `stages.decoding.confinement.shut_in`."""

    def _greeting(self) -> dict[str, bool]:
        try:
            greeting = json.loads(self._received(time.monotonic() + _START_TIMEOUT_S))
        except TimeoutError:
            said = f"it did not answer within {_START_TIMEOUT_S:g} s"
        except (EOFError, OSError, ValueError):
            said = f"it {self._death()}"
        else:
            if "ready" in greeting:
                held: dict[str, bool] = greeting["ready"]
                return held
            said = str(greeting.get("cannot_start")).strip().replace("\n", " | ")
        self.end()
        raise StorageError(f"the decoder's process cannot be started: {said}")

    def is_alive(self) -> bool:
        return not _is_dead(self.pid)

    def ask(self, message: Mapping[str, Any], fds: Sequence[int], deadline: float) -> bytes:
        """The JSON that it answers; raises `ChildDiedError` where there will be no answer."""
        try:
            self._line.settimeout(_START_TIMEOUT_S)
            send(self._line, message, fds)
            return self._received(deadline)
        except TimeoutError:
            self.cpu_s()
            self.end()
            raise ChildDiedError("TIMEOUT", "gave no answer in time and was killed") from None
        except (EOFError, OSError, ValueError):
            raise self._death() from None

    def _received(self, deadline: float) -> bytes:
        return receive(self._line, deadline, self.is_alive)

    def _death(self) -> ChildDiedError:
        """How it ended; ends it if it has only fallen silent."""
        deadline = time.monotonic() + _KILL_TIMEOUT_S
        while not (dead := _is_dead(self.pid)) and _is_exiting(self.pid):
            if time.monotonic() > deadline:
                break
            time.sleep(0.002)
        self.cpu_s()
        self.end()
        if not dead:
            return ChildDiedError("CRASH", "broke off and was killed")
        status = self._process.returncode
        if status in (OUT_OF_MEMORY_STATUS, -signal.SIGKILL):
            # Nobody here killed it: that is what the kernel does when memory runs out.
            return ChildDiedError("OOM_ITEM", "ran out of memory")
        if status == -signal.SIGXCPU:
            return ChildDiedError("TIMEOUT", "used up its CPU time")
        if status < 0:
            names = {number.value: number.name for number in signal.Signals}
            return ChildDiedError("CRASH", f"died of {names.get(-status, f'signal {-status}')}")
        return ChildDiedError("CRASH", f"ended with exit status {status or 'unknown'}")

    def resident_bytes(self) -> int:
        """Memory that it holds, shared libraries included; 0 once it is gone."""
        with contextlib.suppress(OSError):
            pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
            return int(pages) * resource.getpagesize()
        return 0

    def cpu_s(self) -> float:
        """CPU seconds that it has used; once it is gone, those that it had when it was ended."""
        clock = ctypes.c_int()
        if ctypes.CDLL(None).clock_getcpuclockid(self.pid, ctypes.byref(clock)) == 0:
            with contextlib.suppress(OSError):
                self._cpu_s = time.clock_gettime(clock.value)
        return self._cpu_s


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    # It imports what we import, from where we do, and nothing from its own folder.
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    return {**_ENVIRONMENT, **kept, "PYTHONPATH": path}


def _is_dead(pid: int) -> bool:
    """Whether a child has ended. It stays a zombie, so that nobody else gets its number."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _is_exiting(pid: int) -> bool:
    """Whether the kernel is taking it down: its line closes a moment before it is dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return True
    return bool(int(fields[6]) & _PF_EXITING)


def _end(process: subprocess.Popen[bytes], line: socket.socket, owner_pid: int) -> None:
    if os.getpid() != owner_pid:
        return  # a copy of us by fork: neither child nor line are its own
    line.close()
    with contextlib.suppress(ChildProcessError, ProcessLookupError, PermissionError):
        # While it is there, or a zombie, its number is that of its group and of nothing else.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        os.killpg(process.pid, signal.SIGKILL)
    try:
        process.wait(_KILL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        _log.warning("decoder %d does not die; its file system may be hanging", process.pid)


def _see_how_children_end() -> None:
    """Ray's workers may ignore SIGCHLD, and then nobody learns what a child died of.

    Ray's own advice is to set it back. Only a main thread can; others do without the signal's name.
    """
    ignored = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if "SigIgn" in line
    )
    is_ignored = int(ignored.split()[1], 16) >> (signal.SIGCHLD - 1) & 1
    if is_ignored and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
