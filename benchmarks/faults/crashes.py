"""A crash, or an error of the disk, at every system call that writes, of every step that commits.

Crashes are SIGKILL as the call begins; a crash after the last call is the step's own end. Errors
are those of a full disk and of a broken one: they must be told as `StorageError`, or harm nothing.
"""

import mmap
import multiprocessing
import shutil
import signal
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path

from benchmarks.faults.compare import Difference
from benchmarks.faults.family import Asked, Report
from benchmarks.faults.steps import STEPS, problems
from benchmarks.faults.tracing import Point, points, traced
from schemas.errors import StorageError

TOLD_BYTES = 4096
DONE = "done"
KILL = "signal=SIGKILL"
ERRORS = ("error=ENOSPC", "error=EIO")
SHORT_STEP, SHORT_EVERY = "commit", 40
"""The short form: one step, every so manieth call."""
WRITES_PER_ERROR = 10
"""Of the calls `write`, which are many and all do the same, one in so many fails. All are killed
at."""


def run_crashes(asked: Asked) -> Report:
    """SIGKILL at every point of every step."""
    return _run(asked, (KILL,))


def run_errors(asked: Asked) -> Report:
    """ENOSPC and EIO at every point of every step."""
    return _run(asked, ERRORS)


def _run(asked: Asked, faults: tuple[str, ...]) -> Report:
    report = Report(difference=Difference())
    context = multiprocessing.get_context("forkserver")
    # Imported once there and copied from then on, so that a crash costs no start of Python.
    # pandas too, because pyarrow asks for it at its first array.
    context.set_forkserver_preload(["benchmarks.faults.steps", "pandas"])
    by_step = {}
    for name in STEPS if asked.is_long else (SHORT_STEP,):
        folder = asked.folder / name
        folder.mkdir()
        STEPS[name].prepare(folder / "now" / "out")
        shutil.copytree(folder / "now", folder / "before")
        found = _points_of(context, name, folder)
        by_step[name] = len(found)
        chosen = _chosen(found, every_write=faults == (KILL,), is_long=asked.is_long)
        report.wanted += len(chosen) * len(faults)
        for point, fault in ((point, fault) for point in chosen for fault in faults):
            if asked.is_over:
                break
            _try(context, asked, report, name, folder, point, fault)
            if report.runs % 100 == 0:
                asked.say(f"{report.runs} faults")
        asked.say(f"{name}: {len(found)} points, {report.runs} faults so far")
    report.figures = {"points": by_step}
    return report


def _points_of(context: ForkServerContext, name: str, folder: Path) -> list[Point]:
    out, log = _copy(folder), folder / "trace"
    said, status = _do(context, name, out, log, None)
    if said != DONE:
        raise RuntimeError(f"{name} does not work without a fault: {said} ({status})")
    found = points(log)
    first = STEPS[name].from_call
    return found[[point.call for point in found].index(first) :] if first else found


def _chosen(found: list[Point], *, every_write: bool, is_long: bool) -> list[Point]:
    if not is_long:
        found = [point for point in found if point.number % SHORT_EVERY == 1]
    if every_write:
        return found
    return [p for p in found if p.call != "write" or p.number % WRITES_PER_ERROR == 1]


def _try(
    context: ForkServerContext,
    asked: Asked,
    report: Report,
    name: str,
    folder: Path,
    point: Point,
    fault: str,
) -> None:
    out = _copy(folder)
    said, status = _do(context, name, out, folder / "trace", point.inject(fault))
    report.runs += 1
    wrong = list(_wrong_end(said, status, fault))
    half, apart = _problems(name, out, done=said == DONE and fault != KILL, disturbed=True)
    wrong += [f"after it: {problem}" for problem in half]
    try:
        STEPS[name].do(out)
    except Exception as error:  # noqa: BLE001  (whatever it is, it is what is looked for)
        wrong.append(f"cannot be done again: {error!r}")
    end, apart_then = _problems(name, out, done=True, disturbed=False)
    wrong += [f"done again: {problem}" for problem in end]
    apart += apart_then
    report.difference = (report.difference or Difference()) + apart
    report.failures += [f"{name}, {point}, {fault}: {what}; {asked.again()}" for what in wrong]


def _problems(name: str, out: Path, *, done: bool, disturbed: bool) -> tuple[list[str], Difference]:
    try:
        return problems(STEPS[name], out, done=done, disturbed=disturbed)
    except Exception as error:  # noqa: BLE001  (whatever it is, it is what is looked for)
        return [f"cannot be read: {error!r}"], Difference()


def _wrong_end(said: str, status: int, fault: str) -> Iterator[str]:
    if fault == KILL:
        if status != -signal.SIGKILL:
            yield f"it was not killed but ended with {status} ({said})"
    elif said != DONE and not said.startswith("StorageError: "):
        yield f"it ended with {status} and said {said!r}, wanted a StorageError"


def _copy(folder: Path) -> Path:
    """The output as before the step, always at the path at which it was made."""
    shutil.rmtree(folder / "now", ignore_errors=True)
    shutil.copytree(folder / "before", folder / "now")
    return folder / "now" / "out"


def _do(
    context: ForkServerContext, name: str, out: Path, log: Path, inject: str | None
) -> tuple[str, int]:
    """Does a step in a process; what it said and its exit status."""
    told = log.with_name("told")
    told.write_bytes(bytes(TOLD_BYTES))
    here, there = context.Pipe()
    process = context.Process(target=_child, args=(name, out, told, there))
    process.start()
    there.close()
    here.recv()  # it is up
    if process.pid is None:
        raise RuntimeError("a process without an id")
    with traced(process.pid, log, inject):
        here.send("go")
        process.join()
    here.close()
    status = process.exitcode
    process.close()
    return told.read_bytes().rstrip(b"\0").decode(), status if status is not None else -1


def _child(name: str, out: Path, told: Path, line: Connection) -> None:
    with told.open("r+b") as file, mmap.mmap(file.fileno(), TOLD_BYTES) as memory:
        line.send("up")
        line.recv()
        try:
            STEPS[name].do(out)
            said = DONE
        except StorageError as error:
            said = f"StorageError: {error}"
        except Exception as error:  # noqa: BLE001  (told to the parent, who judges it)
            said = f"{type(error).__name__}: {error}"
        # Told through memory, because a call would be one more point.
        encoded = said.encode()[:TOLD_BYTES]
        memory[: len(encoded)] = encoded
