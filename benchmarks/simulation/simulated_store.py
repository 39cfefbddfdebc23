"""A store in memory: what is true of it, and what one process has seen."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field

from pipeline.store import DataFile
from schemas.errors import StorageError


class ViolationError(Exception):
    """An invariant that does not hold; the message says which, and where."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What a data file holds: a row of one table for each of some inputs."""

    table: str
    inputs: tuple[str, ...]
    attempt: int
    """Attempts at one unit differ in content, as work on other machines does."""
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        text = f"{self.table} {self.inputs} {self.attempt}"
        object.__setattr__(self, "sha256", hashlib.sha256(text.encode()).hexdigest())


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the log."""

    unit: str
    files: tuple[DataFile, ...]
    epoch: int


class Truth:
    """What is stored, whoever has seen it."""

    def __init__(self) -> None:
        self.log: list[Entry] = []
        self.files: dict[str, Rows | None] = {}
        """None where a write broke off in the middle."""
        self.appeared: list[str] = []
        self.vanished: list[str] = []
        """Latest last, for listings that lag."""

    def append(self, number: int, entry: Entry) -> bool:
        if number < len(self.log):
            return False
        if number > len(self.log):
            raise ViolationError(f"entry {number} is asked for, and the log ends at {self.last}")
        self.log.append(entry)
        return True

    @property
    def last(self) -> int:
        return len(self.log) - 1

    def put(self, name: str, rows: Rows | None) -> None:
        self.files[name] = rows
        self.appeared.append(name)

    def publish(self, part: str, name: str) -> None:
        """A rename."""
        rows = self.files.pop(part, None)
        if rows is None:
            raise StorageError(f"{part} is not there")
        self.put(name, rows)

    def delete(self, name: str) -> None:
        if name in self.files:
            del self.files[name]
            self.vanished.append(name)


class View:
    """What one process has seen of the log: its beginning, never less than before."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._seen = 0
        self._units: set[str] = set()
        self._epoch = 0
        self._files: dict[str, DataFile] = {}

    @property
    def seen(self) -> int:
        """How many entries."""
        return self._seen

    def advance(self, to: int) -> int:
        """Sees entries up to number `to` (exclusive); returns the number of the last one seen."""
        for entry in self._truth.log[self._seen : to]:
            self._units.add(entry.unit)
            self._epoch = entry.epoch
            self._files.update((file.name, file) for file in entry.files)
        self._seen = max(self._seen, to)
        return self._seen - 1

    def is_committed(self, unit: str) -> bool:
        return unit in self._units

    def epoch(self) -> int:
        return self._epoch

    def committed_files(self) -> Collection[DataFile]:
        return tuple(self._files.values())
