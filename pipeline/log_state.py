"""What the entries of a log add up to."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.delta_log import Entry
from pipeline.store import DataFile


@dataclass(slots=True)
class LogState:
    """Units, files and epoch after some entries; or after a checkpoint, which says it of many."""

    units: set[str] = field(default_factory=set)
    files: dict[str, DataFile] = field(default_factory=dict)
    """By name."""
    epoch: int = 0

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> "LogState":
        state = cls()
        for entry in entries:
            state.take(entry)
        return state

    def take(self, entry: Entry) -> None:
        """Goes on by the next entry."""
        self.units |= entry.units
        self.files |= {file.name: file for file in entry.files}
        for name in entry.removed:
            self.files.pop(name, None)
        if entry.epoch is not None:
            self.epoch = entry.epoch
