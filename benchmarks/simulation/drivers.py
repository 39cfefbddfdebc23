"""A driver as in a real run: does pending units, settles duplicates between, collects garbage.

The job: groups of inputs, each worked on twice. A sketch unit writes rows of `sketches`, and final
rows for some inputs. Then the unit `duplicates` writes final rows for some that have a sketch. Then
a measure unit writes them for the rest. A final row is one in `recordings` and one in `segments`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random

from benchmarks.simulation.request import Later, Publish, Put, Refresh, Sleep
from benchmarks.simulation.simulated_store import Rows, Truth, View, ViolationError
from benchmarks.simulation.stepwise import Steps, stepwise
from pipeline.commit import Outcome, commit_unit
from pipeline.data_name import data_name
from pipeline.garbage import collect
from pipeline.store import DataFile
from schemas.errors import StorageError

FINAL_TABLES = ("recordings", "segments")
MAX_COMMIT_TRIES = 3


@dataclass(kw_only=True, slots=True)
class Habits:
    """How the drivers of one schedule work: shares of occasions."""

    renames: bool
    """Files are written beside and renamed, as on a disk; else put whole, as in an object store."""
    same_content: bool
    """Every attempt at a unit makes the same bytes, so that names repeat."""
    two_units: float
    second_attempt: float
    late_worker: float
    sleep: float
    collect: float
    numbers: "count[int]" = field(default_factory=count)

    def rest(self) -> None:
        """Nothing more that others could wait for without end."""
        self.collect = self.sleep = self.late_worker = 0.0


@dataclass(frozen=True, slots=True)
class Job:
    groups: dict[str, tuple[str, ...]]
    """Inputs by group, fixed for the life of the job."""

    @property
    def inputs(self) -> set[str]:
        return {name for inputs in self.groups.values() for name in inputs}


@dataclass(frozen=True, slots=True)
class Attempt:
    unit: str
    epoch: int
    files: tuple[DataFile, ...]


OnOutcome = Callable[[Attempt, Outcome], None]


class Driver:
    """One life of a driver process: what it knows it has read from the log."""

    barrier = "duplicates"

    def __init__(
        self,
        job: Job,
        rules: "Rules",
        habits: Habits,
        truth: Truth,
        rng: Random,
        on_outcome: OnOutcome,
    ) -> None:
        self.view = rules.view(truth)
        self._job = job
        self._rules = rules
        self._habits = habits
        self._truth = truth
        self._rng = rng
        self._on_outcome = on_outcome

    def live(self) -> Steps[str]:
        """Goes on until nothing is pending, or storage fails and the run is given up."""
        while True:
            try:
                yield Refresh()
                units = self._pending()
                if not units:
                    return "finished"
                two = len(units) > 1 and self._chance(self._habits.two_units)
                yield from self._work(self._rng.sample(units, 2 if two else 1))
            except StorageError as error:
                if self._chance(0.5):
                    return f"gave up, {error}"

    def collect(self) -> Steps[list[str]]:
        """Collects garbage without any grace."""
        return stepwise(self._rules.collect, self.view, lambda name: True)

    def _pending(self) -> list[str]:
        sketches = [f"sketch-{group}" for group in self._job.groups]
        if pending := [unit for unit in sketches if not self.view.is_committed(unit)]:
            return pending
        if not self.view.is_committed(self.barrier):
            return [self.barrier]
        final = self._inputs_in(FINAL_TABLES[0])
        return [f"measure-{g}" for g, inputs in self._job.groups.items() if set(inputs) - final]

    def _work(self, units: Sequence[str]) -> Steps[None]:
        attempts = []
        for unit in units:
            for _ in range(1 + self._chance(self._habits.second_attempt)):
                attempts.append((yield from self._attempt(unit)))
        self._rng.shuffle(attempts)
        for attempt in attempts:
            yield from self._interruption()
            self._on_outcome(attempt, (yield from self._commit(attempt)))
        yield from self._interruption()

    def _attempt(self, unit: str) -> Steps[Attempt]:
        epoch = self.view.epoch()
        yield from self._interruption()
        written = []
        for rows in self._do(unit):
            name = f"{rows.table}/{self._rules.name(unit, epoch, rows.sha256)}"
            written.append(DataFile(name, len(rows.inputs), len(rows.inputs), rows.sha256))
            yield from self._write(name, rows)
        if self._chance(self._habits.late_worker):
            for rows in self._do(unit):
                name = f"{rows.table}/{self._rules.name(unit, epoch, rows.sha256)}"
                yield Later(Put(name, rows))
        return Attempt(unit, epoch, tuple(written))

    def _write(self, name: str, rows: Rows) -> Steps[None]:
        if not self._habits.renames:
            yield Put(name, rows)
            return
        part = f".{name}.{next(self._habits.numbers)}.part"
        yield Put(part, rows)
        yield Publish(part, name)

    def _commit(self, attempt: Attempt) -> Steps[Outcome]:
        """A commit that fails is made again, as it stands."""
        for left in reversed(range(MAX_COMMIT_TRIES)):
            try:
                return (
                    yield from stepwise(
                        self._rules.commit,
                        self.view,
                        attempt.unit,
                        attempt.files,
                        attempt.epoch,
                    )
                )
            except StorageError:
                if not left:
                    raise
        raise AssertionError("unreachable")

    def _interruption(self) -> Steps[None]:
        if self._chance(self._habits.sleep):
            yield Sleep()
        if self._chance(self._habits.collect):
            yield from self.collect()

    def _do(self, unit: str) -> list[Rows]:
        """What an attempt makes of a unit: its number decides what becomes of which input."""
        attempt = 0 if self._habits.same_content else next(self._habits.numbers)
        if unit == self.barrier:
            suspects = sorted(self._inputs_in("sketches"))
            return _final_rows([x for i, x in enumerate(suspects) if (i + attempt) % 2], attempt)
        kind, _, group = unit.partition("-")
        inputs = self._job.groups[group]
        if kind == "measure":
            final = self._inputs_in(FINAL_TABLES[0])
            return _final_rows([x for x in inputs if x not in final], attempt)
        failed = [x for i, x in enumerate(inputs) if (i + attempt) % 3 == 0]
        sketched = tuple(x for x in inputs if x not in failed)
        sketches = [Rows("sketches", sketched, attempt)] if sketched else []
        return sketches + _final_rows(failed, attempt)

    def _inputs_in(self, table: str) -> set[str]:
        """Reads a table as a reader does: the files that entries name, all of them."""
        found: set[str] = set()
        for file in self.view.committed_files():
            if file.name.startswith(table):
                rows = self._truth.files.get(file.name)
                if rows is None:
                    raise ViolationError(f"{file.name} is committed and cannot be read")
                found.update(rows.inputs)
        return found

    def _chance(self, share: float) -> bool:
        return self._rng.random() < share


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """The protocol under test; tests put broken parts in."""

    commit: Callable[..., Outcome] = commit_unit
    collect: Callable[..., list[str]] = collect
    name: Callable[[str, int, str], str] = data_name
    truth: type[Truth] = Truth
    view: type[View] = View
    driver: type[Driver] = Driver


def _final_rows(inputs: Sequence[str], attempt: int) -> list[Rows]:
    return [Rows(table, tuple(inputs), attempt) for table in FINAL_TABLES] if inputs else []
