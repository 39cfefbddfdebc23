"""A `Store` in memory that does what it is asked at once; a test breaks the calls it is about."""

from collections.abc import Callable, Collection, Sequence

from benchmarks.simulation.simulated_store import Entry, Rows, Truth, View
from pipeline.data_name import data_name
from pipeline.store import DataFile


class MemoryStore(View):
    """What one process has of the store `truth`; two of them share one truth."""

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self.truth = truth
        self.before_append: list[Callable[[], object]] = []
        """Called one an append, first to last: others act just then, or the request is lost."""
        self.after_append: list[Callable[[], object]] = []
        """Called one an append that was carried out: the reply may be lost."""

    def refresh(self) -> int:
        return self.advance(len(self.truth.log))

    def append(self, number: int, unit: str, files: Sequence[DataFile], epoch: int) -> bool:
        if self.before_append:
            self.before_append.pop(0)()
        made = self.truth.append(number, Entry(unit, tuple(files), epoch))
        if self.after_append:
            self.after_append.pop(0)()
        return made

    def list_files(self) -> Collection[str]:
        return list(self.truth.files)

    def delete(self, name: str) -> None:
        self.truth.delete(name)

    def write(self, unit: str, epoch: int, attempt: int = 0) -> DataFile:
        """A data file of an attempt at `unit`."""
        rows = Rows("recordings", (unit,), attempt)
        name = f"recordings/{data_name(unit, epoch, rows.sha256)}"
        self.truth.put(name, rows)
        return DataFile(name, 1, 1, rows.sha256)
