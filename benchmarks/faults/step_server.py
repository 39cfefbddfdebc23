"""Steps in processes that may die of them, forked off one that has imported everything already.

    python -m benchmarks.faults.step_server

is that one. It reads a JSON object (`step`, `out`, `told`) and forks. The new process prints
`ready ID` and waits for one more byte before it begins; when it is gone, its parent prints `ended
STATUS`.
"""

import json
import mmap
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.tracing import Tracer
from benchmarks.machine import ROOT

TOLD_BYTES = 4096
DONE = "done"


@dataclass(frozen=True, slots=True)
class StepServer:
    """The server, seen from outside."""

    process: subprocess.Popen[bytes]
    tracer: Tracer

    def do(self, step: str, out: Path, log: Path, inject: str | None) -> tuple[str, int]:
        """Does a step in a process that is traced; what it said and its exit status."""
        told = log.with_name("told")
        told.write_bytes(bytes(TOLD_BYTES))
        self._send(json.dumps({"step": step, "out": str(out), "told": str(told)}).encode())
        with self.tracer.traced(self._number(b"ready"), log, inject):
            self._send(b"\n")
            status = self._number(b"ended")
        return told.read_bytes().rstrip(b"\0").decode(errors="replace"), status

    def _send(self, data: bytes) -> None:
        if self.process.stdin is None:
            raise RuntimeError("a server without a line to it")
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def _number(self, event: bytes) -> int:
        line = self.process.stdout.readline() if self.process.stdout is not None else b""
        if not line:
            raise RuntimeError(f"the server of steps ended with {self.process.wait()}")
        said, _, number = line.partition(b" ")
        if said != event:  # its number is no process that may be traced
            raise RuntimeError(f"the server of steps said {line!r}, wanted {event!r}")
        return int(number)


@contextmanager
def step_server(tracer: Tracer) -> Iterator[StepServer]:
    """A server whose processes `tracer` can trace, for the block."""
    environment: Mapping[str, str] = os.environ | tracer.environment
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.faults.step_server"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        yield StepServer(process, tracer)


def _serve() -> None:
    # Imported once here and copied from then on, so that a crash costs no start of Python. pandas
    # too, because pyarrow asks for it at its first array.
    import pandas  # noqa: F401

    import benchmarks.faults.steps  # noqa: F401

    # Unbuffered, because the byte that lets a process begin is for that process to read.
    while asked := os.read(0, TOLD_BYTES):
        pid = os.fork()
        if pid == 0:
            try:
                _do(**json.loads(asked))
            except Exception:  # noqa: BLE001  (it must not go on as a second server)
                traceback.print_exc()
            os._exit(1)
        _, status = os.waitpid(pid, 0)
        os.write(1, b"ended %d\n" % os.waitstatus_to_exitcode(status))


def _do(step: str, out: str, told: str) -> None:
    """Makes no call of its own that writes once it has said that it is ready, and ends there."""
    from benchmarks.faults.steps import STEPS
    from schemas.errors import StorageError

    with open(told, "r+b") as file, mmap.mmap(file.fileno(), TOLD_BYTES) as memory:
        os.write(1, b"ready %d\n" % os.getpid())
        if not os.read(0, 1):
            return  # nobody asks any more
        try:
            STEPS[step].do(Path(out))
            said = DONE
        except StorageError as error:
            said = f"StorageError: {error}"
        except BaseException as error:  # noqa: BLE001  (told to the parent, who judges it)
            said = f"{type(error).__name__}: {error}"
        encoded = said.encode()[:TOLD_BYTES]
        memory[: len(encoded)] = encoded
        os._exit(0)


if __name__ == "__main__":
    _serve()
