"""What a driver asks of the store: each request is one step of a schedule."""

from dataclasses import dataclass
from typing import Protocol

from benchmarks.simulation.simulated_store import Entry, Rows, Truth


class Effect(Protocol):
    """A request that changes what is stored; it may reach the store late, twice or never."""

    def apply(self, truth: Truth) -> bool | None:
        """Carries it out; returns the reply."""
        ...


@dataclass(frozen=True, slots=True)
class Append:
    number: int
    entry: Entry

    def apply(self, truth: Truth) -> bool:
        return truth.append(self.number, self.entry)

    def __str__(self) -> str:
        entry = self.entry
        names = ", ".join(file.name for file in entry.files)
        return f"append {self.number}: {entry.unit}, epoch {entry.epoch} ({names})"


@dataclass(frozen=True, slots=True)
class Put:
    name: str
    rows: Rows

    def apply(self, truth: Truth) -> None:
        truth.put(self.name, self.rows)

    def __str__(self) -> str:
        return f"write {self.name} (attempt {self.rows.attempt})"


@dataclass(frozen=True, slots=True)
class Publish:
    part: str
    name: str

    def apply(self, truth: Truth) -> None:
        truth.publish(self.part, self.name)

    def __str__(self) -> str:
        return f"rename {self.part} to {self.name}"


@dataclass(frozen=True, slots=True)
class Delete:
    name: str

    def apply(self, truth: Truth) -> None:
        truth.delete(self.name)

    def __str__(self) -> str:
        return f"delete {self.name}"


@dataclass(frozen=True, slots=True)
class Refresh:
    def __str__(self) -> str:
        return "refresh"


@dataclass(frozen=True, slots=True)
class ListFiles:
    def __str__(self) -> str:
        return "list files"


@dataclass(frozen=True, slots=True)
class Sleep:
    """A process is stopped, for as long as the scheduler likes."""

    def __str__(self) -> str:
        return "sleep"


@dataclass(frozen=True, slots=True)
class Later:
    """A worker that its driver gave up on still does this, some time."""

    effect: Put

    def __str__(self) -> str:
        return f"a worker given up on will {self.effect}"


Request = Append | Put | Publish | Delete | Refresh | ListFiles | Sleep | Later
Answer = bool | int | list[str] | None
