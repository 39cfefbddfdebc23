"""One schedule: a seed decides who acts next and which request meets which fault."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from benchmarks.simulation.drivers import Attempt, Driver, Habits, Job, Rules
from benchmarks.simulation.faults import draw_faults
from benchmarks.simulation.invariants import Invariants
from benchmarks.simulation.network import Network
from benchmarks.simulation.request import Answer, Request, Sleep
from benchmarks.simulation.simulated_store import View, ViolationError
from benchmarks.simulation.stepwise import Steps
from pipeline.commit import Outcome
from schemas.errors import StorageError

MAX_QUIET_STEPS = 3_000
"""An end without faults takes some hundred; what takes more goes round in circles."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a schedule went."""

    seed: int
    steps: int
    violation: str | None
    trace: list[tuple[int, str, tuple[object, ...]]]
    """Step, what happened (as a template) and to what."""
    events: Counter[str]
    """How often which fault and which outcome occurred."""

    def lines(self) -> list[str]:
        """The trace for people."""
        return [f"{step:4d} {template.format(*what)}" for step, template, what in self.trace]


@dataclass(eq=False, slots=True)
class _Process:
    name: str
    view: View
    life: Steps[object]
    weight: float
    """How fast it is."""
    request: Request | None = None
    """Asked and not yet carried out; None when the life has ended."""
    asleep: bool = False


class Schedule:
    """Runs one seed to its end."""

    def __init__(self, seed: int, rules: Rules | None = None) -> None:
        self.seed: Final = seed
        self._rng = rng = Random(seed)
        self._rules = rules or Rules()
        self._truth = self._rules.truth()
        self._job = _draw_job(rng)
        self._habits = _draw_habits(rng)
        self._events: Counter[str] = Counter()
        self._network = Network(self._truth, draw_faults(rng), rng, self._events)
        self._invariants = Invariants(self._job, self._truth)
        self._reader = self._rules.view(self._truth)
        self._trace: list[tuple[int, str, tuple[object, ...]]] = []
        self._steps = 0
        self._lives = 0
        self._processes: list[_Process] = []

    def run(self) -> Result:
        """A time of faults; then the faults stop, and everything must come to its end."""
        violation = None
        try:
            self._processes = [self._start(Driver.live) for _ in range(self._rng.randint(2, 5))]
            for _ in range(self._rng.randint(20, 160)):
                self._step()
            self._say("-- no more faults")
            self._end()
        except ViolationError as found:
            violation = str(found)
        return Result(self.seed, self._steps, violation, self._trace, self._events)

    def _end(self) -> None:
        self._network.faults = None
        self._habits.rest()
        while self._network.in_flight or any(process.request for process in self._processes):
            self._step()
            self._check_that_it_ends()
        for last in (Driver.live, Driver.collect):
            process = self._start(last)
            while process.request:
                self._act(process)
                self._check_that_it_ends()
        self._invariants.check_end()

    def _step(self) -> None:
        rng = self._rng
        awake = [p for p in self._processes if p.request and not p.asleep]
        if self._network.in_flight and (not awake or rng.random() < 0.1):
            self._say("late: {} -> {}", *self._network.settle_one())
            self._invariants.check(self._reader)
        elif not awake or rng.random() < 0.04:
            self._rouse()
        else:
            self._act(rng.choices(awake, [process.weight for process in awake])[0])
        if rng.random() < 0.1:
            self._reader.advance(rng.randint(self._reader.seen, len(self._truth.log)))
            self._invariants.check(self._reader)

    def _rouse(self) -> None:
        """Wakes a sleeper, or starts anew where a process has ended."""
        over = self._network.faults is None
        idle = [p for p in self._processes if p.asleep or not (p.request or over)]
        if not idle:
            return
        process = self._rng.choice(idle)
        if process.asleep:
            process.asleep = False
            self._say("{} wakes", process.name)
        else:
            what = Driver.collect if self._rng.random() < 0.2 else Driver.live
            self._processes[self._processes.index(process)] = self._start(what)

    def _start(self, what: Callable[[Driver], Steps[object]]) -> _Process:
        driver = self._rules.driver(
            self._job, self._rules, self._habits, self._truth, self._rng, self._on_outcome
        )
        self._lives += 1
        name = f"{what.__name__} {self._lives}"
        weight = self._rng.choice((0.1, 1.0, 1.0, 3.0))
        process = _Process(name, driver.view, getattr(driver, what.__name__)(), weight)
        self._say("{} starts", name)
        self._go_on(process, None)
        return process

    def _act(self, process: _Process) -> None:
        """Carries out what a process asks, and lets it go on to what it asks next."""
        request = process.request
        assert request is not None
        fate = self._network.fate(request)
        self._steps += 1
        answer: Answer | StorageError
        try:
            answer = self._network.carry_out(request, fate, process.view)
            self._say("{}: {} -> {}, {}", process.name, request, fate, answer)
        except StorageError as error:
            answer = error
            self._say("{}: {} -> {}, {}", process.name, request, fate, str(error))
        self._invariants.check(process.view)
        if fate.startswith("crash"):
            process.life.close()
            process.request = None
            return
        process.asleep = isinstance(request, Sleep)
        self._go_on(process, answer)

    def _go_on(self, process: _Process, answer: Answer | StorageError) -> None:
        process.request = None
        try:
            if isinstance(answer, StorageError):
                process.request = process.life.throw(answer)
            else:
                process.request = process.life.send(answer)
        except StopIteration as end:
            self._say("{} ends: {}", process.name, end.value)
            if end.value == "finished":
                self._invariants.check_finished()
        except StorageError as error:
            self._say("{} gives up: {}", process.name, str(error))
        except ViolationError:
            raise
        except Exception as error:
            raise ViolationError(f"{process.name} raised {error!r}") from error

    def _on_outcome(self, attempt: Attempt, outcome: Outcome) -> None:
        self._events[outcome.value] += 1
        self._say("{} of epoch {} is {}", attempt.unit, attempt.epoch, outcome.value)
        self._invariants.check_outcome(attempt, outcome)

    def _check_that_it_ends(self) -> None:
        if self._steps > MAX_QUIET_STEPS:
            raise ViolationError(f"no end after {self._steps} steps")

    def _say(self, template: str, *what: object) -> None:
        # Put into words only for a schedule that is shown.
        self._trace.append((self._steps, template, what))


def _draw_job(rng: Random) -> Job:
    names = iter("abcdef")
    return Job(
        {
            f"g{number}": tuple(next(names) for _ in range(rng.randint(1, 2)))
            for number in range(1, rng.randint(1, 3) + 1)
        }
    )


def _draw_habits(rng: Random) -> Habits:
    return Habits(
        renames=rng.random() < 0.5,
        same_content=rng.random() < 0.4,
        two_units=rng.choice((0.0, 0.5)),
        second_attempt=rng.choice((0.0, 0.0, 0.3)),
        late_worker=rng.choice((0.0, 0.0, 0.3)),
        sleep=rng.choice((0.0, 0.1, 0.3)),
        collect=rng.choice((0.0, 0.1, 0.3)),
    )
