"""Faults at chosen calls of a process where nothing may trace it: by a library loaded before it.

`failpoints.c` is compiled on the spot, and told through a file in shared memory whom to watch and
what to do. Both files lay out that memory, and must agree.
"""

import errno
import mmap
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.faults.tracing import INJECTED, NotHereError, Strace, Tracer

SOURCE = Path(__file__).with_suffix(".c")
PRELOAD = "LD_PRELOAD"
COMPILERS = ("cc", "gcc", "clang")
_NAME, _MOST = 20, 65536
_ORDERS = struct.Struct(f"=iiII{_NAME}s")
"""Process, error (-1: kill), number of the call, calls met so far, name of the call."""
_PID, _NUM_MET = struct.Struct("=i"), struct.Struct("=I")
_MET = struct.Struct(f"=ii{_NAME}s")
"""Thread, flags and name of a call."""
_CREATES, _IS_INJECTED = 1, 2
_INJECT = re.compile(r"([a-z0-9_]+):(signal=SIGKILL|error=(E[A-Z0-9]+)):when=(\d+)")


class Failpoints:
    """By a library in the process, from inside. One process at a time."""

    by = "failpoints"

    def __init__(self, folder: Path) -> None:
        """Compiles into `folder`, which is made; raises `NotHereError` where nothing does."""
        folder.mkdir()
        library, orders = folder / "failpoints.so", folder / "orders"
        _compile(library)
        orders.touch()
        with orders.open("r+b") as file:
            file.truncate(_ORDERS.size + _MOST * _MET.size)
            self._memory = mmap.mmap(file.fileno(), 0)
        self.environment: Mapping[str, str] = {
            PRELOAD: ":".join(filter(None, [str(library), os.environ.get(PRELOAD)])),
            "AUDIOMILL_FAILPOINTS": str(orders),
        }

    @contextmanager
    def traced(self, pid: int, log: Path, inject: str | None = None) -> Iterator[None]:
        call, error, number = _parsed(inject) if inject else ("", 0, 0)
        _ORDERS.pack_into(self._memory, 0, 0, error, number, 0, call.encode())
        _PID.pack_into(self._memory, 0, pid)
        try:
            yield
        finally:
            _PID.pack_into(self._memory, 0, 0)
            log.write_text("".join(f"{line}\n" for line in self._met()))

    def _met(self) -> Iterator[str]:
        """The calls as strace writes them."""
        num_met = _NUM_MET.unpack_from(self._memory, 12)[0]
        if num_met > _MOST:
            raise RuntimeError(f"a step of {num_met} calls, and room for {_MOST}")
        for index in range(num_met):
            thread, flags, call = _MET.unpack_from(self._memory, _ORDERS.size + index * _MET.size)
            name = call.partition(b"\0")[0].decode()
            arguments = "O_CREAT" if flags & _CREATES else ""
            yield f"{thread} {name}({arguments})" + f" {INJECTED})" * bool(flags & _IS_INJECTED)


def usable_tracer(folder: Path) -> Tracer:
    """strace where it may attach, failpoints compiled into `folder` where not.

    Raises `NotHereError`, which says what is missing, where neither works.
    """
    try:
        return Strace()
    except NotHereError as no_strace:
        try:
            return Failpoints(folder)
        except NotHereError as no_failpoints:
            raise NotHereError(f"{no_strace}; {no_failpoints}") from None


def _compile(library: Path) -> None:
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise NotHereError("no C compiler is installed (cc)")
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        raise NotHereError(f"{SOURCE.name} does not compile here: {made.stderr[:300]}")


def _parsed(inject: str) -> tuple[str, int, int]:
    """Name, error and number of what `Point.inject` says."""
    match = _INJECT.fullmatch(inject)
    if match is None:
        raise ValueError(f"{inject!r} is not what Point.inject makes")
    call, _, error, number = match.groups()
    return call, getattr(errno, error) if error else -1, int(number)
