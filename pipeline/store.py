"""What the commit protocol asks of storage, and nothing more.

Two kinds of things are stored. Data files are immutable and invisible: a name is written once,
whole, and means nothing until a log entry names it. The log is a list of entries numbered from 0,
and its one operation is "make number n exist unless it exists": a disk does that with a hard link,
an object store with `If-None-Match: *`. Everything else (who wins, what is late, what is garbage)
is `commit.py`, which a simulated store can drive as well as a real one.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas.errors import StorageError


class UnknownOutcomeError(StorageError):
    """The store did not say whether an entry was made: it may exist now, later or never."""


@dataclass(frozen=True, slots=True, order=True)
class DataFile:
    """A data file as a log entry names it: found whole and unchanged, or damaged."""

    name: str
    """Relative to the store, `/` between folders; never from a URI."""
    num_rows: int
    size_bytes: int
    sha256: str


class Store(Protocol):
    """Data files and a log. Every method may raise `StorageError`; what it says is then unknown."""

    def refresh(self) -> int:
        """Reads the log as far as it can be seen; returns its last number, -1 if there is none.

        What is seen may lag behind, but never goes back and never shows part of an entry. The three
        questions below are answered as of the last refresh.
        """
        ...

    def is_committed(self, unit: str) -> bool:
        """Whether an entry of that unit has been seen."""
        ...

    def epoch(self) -> int:
        """How many collections of garbage the log holds."""
        ...

    def committed_files(self) -> Collection[DataFile]:
        """Files that entries name."""
        ...

    def append(self, number: int, unit: str, files: Sequence[DataFile], epoch: int) -> bool:
        """Makes entry `number` exist, whole; False if that number exists already.

        `epoch` is what `epoch()` says from then on. Raises `UnknownOutcomeError` where nobody can
        tell whether it exists.
        """
        ...

    def list_files(self) -> Collection[str]:
        """Names of data files, committed or not; new ones may be missing for a while."""
        ...

    def delete(self, name: str) -> None:
        """Removes a data file for good; one that is not there is no error."""
        ...
