"""A crash, or an error of the disk, at every system call that writes, of every step that commits.

Crashes are SIGKILL as the call begins; a crash after the last call is the step's own end. Errors
are those of a full disk and of a broken one: they must be told as `StorageError`, or harm nothing.
Threads do not make exactly the same calls every time; a call that is not made again in some tries
was missed: neither passed nor failed, but named.
"""

import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.compare import Difference
from benchmarks.faults.failpoints import usable_tracer
from benchmarks.faults.family import Asked, Report
from benchmarks.faults.step_server import DONE, StepServer, step_server
from benchmarks.faults.steps import STEPS, num_checkpoints, problems
from benchmarks.faults.tracing import Point, points, was_injected

KILL = "signal=SIGKILL"
ERRORS = ("error=ENOSPC", "error=EIO")
SHORT_STEP, SHORT_EVERY = "commit", 40
"""The short form: one step, every so manieth call."""
WRITES_PER_ERROR = 10
"""Of the calls `write`, which are many and all do the same, one in so many fails. All are killed
at."""
TRIES = 3
"""Of a fault whose call is not made again."""
MOST_MISSED = 0.01
"""Share of the faults; one may be missed however few they are."""


def run_crashes(asked: Asked) -> Report:
    """SIGKILL at every point of every step."""
    return _run(asked, (KILL,))


def run_errors(asked: Asked) -> Report:
    """ENOSPC and EIO at every point of every step."""
    return _run(asked, ERRORS)


def _run(asked: Asked, faults: tuple[str, ...]) -> Report:
    report = Report(difference=Difference())
    tracer = usable_tracer(asked.folder / "failpoints")
    by_step: dict[str, int] = {}
    missed: list[str] = []
    with step_server(tracer) as server:
        for name in STEPS if asked.is_long else (SHORT_STEP,):
            folder = asked.folder / name
            folder.mkdir()
            STEPS[name].prepare(folder / "now" / "out")
            shutil.copytree(folder / "now", folder / "before")
            found = _points_of(server, name, folder)
            by_step[name] = len(found)
            chosen = _chosen(found, every_write=faults == (KILL,), is_long=asked.is_long)
            report.wanted += len(chosen) * len(faults)
            for point, fault in ((point, fault) for point in chosen for fault in faults):
                if asked.is_over:
                    break
                meet(asked, report, missed, Fault(server, name, folder, point, fault))
                if report.runs % 100 == 0:
                    asked.say(f"{report.runs} faults")
            asked.say(f"{name}: {len(found)} points, {report.runs} faults so far")
    if too_many(len(missed), report.runs):
        report.failures.append(f"{len(missed)} faults met no call; {asked.again()}")
    report.figures = {"by": tracer.by, "points": by_step, "missed": missed}
    return report


def too_many(num_missed: int, num_met: int) -> bool:
    """Whether more faults were missed than threads that do not repeat themselves explain."""
    return num_missed > max(1, MOST_MISSED * (num_met + num_missed))


def _points_of(server: StepServer, name: str, folder: Path) -> list[Point]:
    log = folder / "trace"
    out = _copy(folder)
    said, status = server.do(name, out, log, None)
    wrong = problems(STEPS[name], out, done=True)[0] if said == DONE else [said]
    if wrong or num_checkpoints(out) != STEPS[name].num_checkpoints:
        raise RuntimeError(f"{name} does not work without a fault: {wrong} ({status})")
    found = points(log)
    if not found:
        raise RuntimeError(f"{name}: {server.tracer.by} saw no call that writes")
    first = STEPS[name].from_call
    return found[[point.call for point in found].index(first) :] if first else found


def _chosen(found: list[Point], *, every_write: bool, is_long: bool) -> list[Point]:
    if not is_long:
        found = [point for point in found if point.number % SHORT_EVERY == 1]
    if every_write:
        return found
    return [p for p in found if p.call != "write" or p.number % WRITES_PER_ERROR == 1]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault at one call of a step."""

    server: StepServer
    step: str
    folder: Path
    point: Point
    what: str

    def __str__(self) -> str:
        return f"{self.step}, {self.point}, {self.what}"

    def tried(self) -> "Outcome":
        """What comes of the step with it, and of doing the step again."""
        out, log = _copy(self.folder), self.folder / "trace"
        said, status = self.server.do(self.step, out, log, self.point.inject(self.what))
        is_met = status == -signal.SIGKILL if self.what == KILL else was_injected(log)
        wrong = list(_wrong_end(said, status, self.what if is_met else None))
        half, apart = _problems(self.step, out, done=said == DONE and status == 0, disturbed=is_met)
        wrong += [f"after it: {problem}" for problem in half]
        try:
            STEPS[self.step].do(out)
        except Exception as error:  # noqa: BLE001  (whatever it is, it is what is looked for)
            wrong.append(f"cannot be done again: {error!r}")
        end, apart_then = _problems(self.step, out, done=True, disturbed=False)
        wrong += [f"done again: {problem}" for problem in end]
        return Outcome(is_met=is_met, wrong=wrong, apart=apart + apart_then)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a fault."""

    is_met: bool
    """Whether its call was made."""
    wrong: list[str]
    apart: Difference


def meet(asked: Asked, report: Report, missed: list[str], fault: Fault) -> None:
    """Tries a fault until its call is made, a few times."""
    for _ in range(TRIES):
        outcome = fault.tried()
        report.difference = (report.difference or Difference()) + outcome.apart
        report.failures += [f"{fault}: {what}; {asked.again()}" for what in outcome.wrong]
        if outcome.is_met or outcome.wrong:
            report.runs += 1
            return
    report.wanted -= 1
    missed.append(str(fault))


def _problems(name: str, out: Path, *, done: bool, disturbed: bool) -> tuple[list[str], Difference]:
    try:
        return problems(STEPS[name], out, done=done, disturbed=disturbed)
    except Exception as error:  # noqa: BLE001  (whatever it is, it is what is looked for)
        return [f"cannot be read: {error!r}"], Difference()


def _wrong_end(said: str, status: int, what: str | None) -> Iterator[str]:
    """What is wrong with the end of a step that met this fault, or none."""
    if what == KILL:
        if status != -signal.SIGKILL:
            yield f"it was not killed but ended with {status} ({said})"
    elif status != 0 or (said != DONE and not (what and said.startswith("StorageError: "))):
        wanted = "a StorageError" if what else "its end"
        yield f"it ended with {status} and said {said!r}, wanted {wanted}"


def _copy(folder: Path) -> Path:
    """The output as before the step, always at the path at which it was made."""
    shutil.rmtree(folder / "now", ignore_errors=True)
    shutil.copytree(folder / "before", folder / "now")
    return folder / "now" / "out"
