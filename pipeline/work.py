"""What the engine streams: work, its steps, what is left to do, and what was given up."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pipeline.attempts import Attempts
from pipeline.breaker import Blame
from pipeline.events import event
from pipeline.fit import Kind


@dataclass(frozen=True, slots=True)
class Step:
    """A method of `Worker` run in an actor of that kind, on the last step's result and `extra`."""

    kind: Kind
    method: str
    extra: tuple[Any, ...] = ()


@dataclass(slots=True)
class Work:
    """One thing that goes through steps. `key` is the caller's."""

    name: str
    """The same for the same work in every run: what the ledger of attempts knows it by."""
    key: Any
    first: tuple[Any, ...]
    """Arguments of the first step; later steps get the result of the one before."""
    steps: tuple[Step, ...]
    num_inputs: int = 1
    alone: bool = False
    """Whether nothing else may be under way beside it."""


@dataclass(frozen=True)
class Poison:
    """Work that was given up; the rest says how it ended the last time."""

    work: Work
    attempts: int
    error_class: str
    cause: str
    stage: str
    """Empty where nobody knows it."""

    @property
    def blame(self) -> Blame:
        """As one input that failed."""
        return Blame(self.work.name, self.stage or "worker", self.error_class, self.cause)


@dataclass
class Queue:
    """What a stream still has to do."""

    source: Iterator[Work]
    waiting: dict[Kind, deque[tuple[Work, int, tuple[Any, ...]]]]
    """Per kind: work, the step that is next, and the arguments of that step."""
    on_poison: Callable[[Poison], None]
    exhausted: bool = False
    suspects: deque[Work] = field(default_factory=deque)
    poison: list[Poison] = field(default_factory=list)

    def put(self, work: Work, step: int, arguments: tuple[Any, ...]) -> None:
        self.waiting[work.steps[step].kind].append((work, step, arguments))

    @property
    def num_waiting(self) -> int:
        return sum(len(queue) for queue in self.waiting.values())

    @property
    def is_empty(self) -> bool:
        return self.exhausted and not self.suspects and not self.num_waiting

    def try_again(self, work: Work, known: Attempts, max_attempts: int) -> None:
        """Puts it where it belongs by what is known against it."""
        if known.is_given_up(max_attempts):
            tried = known.strikes + known.losses_alone
            poison = Poison(work, tried, known.error_class, known.cause, known.stage)
            event("given_up", unit=work.name, stage=known.stage, error_class=known.error_class)
            self.poison.append(poison)
            self.on_poison(poison)
        elif known.is_suspect(max_attempts):
            self.suspects.append(work)
        else:
            self.put(work, 0, work.first)
