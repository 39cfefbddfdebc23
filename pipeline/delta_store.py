"""`Store` on a disk: data files in an output folder, the log as a Delta log beside them.

An entry is a file that is linked into the log under its number, which is put-if-absent on local
disks and on NFS. Opening reads the newest checkpoint and the entries after it; from there on a
refresh costs one failed `open`. Checkpoints are made by `deltalake`, rarer and rarer as the log
grows, and are copies: one that is torn or rotten is not used.
"""

import hashlib
import logging
import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, Schema
from deltalake.exceptions import DeltaError

from pipeline.delta_log import (
    TABLE_FOLDER,
    Entry,
    entry_name,
    entry_of,
    first_entry,
    number_of,
    read_entry,
    unit_entry,
)
from pipeline.files import PART_ENDING, create_file, storage_error, sync, write_text
from pipeline.store import DataFile
from schemas.errors import OutputError

SHARDS_FOLDER = "shards"
COMMITS_PER_CHECKPOINT = 100
CHECKPOINT_SHARE = 10
"""A checkpoint every tenth of the log at least, so that all of them together cost O(commits)."""
_CHECKPOINT = ".checkpoint.parquet"
_PROOF = ".checkpoint.sha256"


class DeltaStore:
    """The store under `root`; raises `OutputError` if there is none, or its log is damaged."""

    def __init__(self, root: Path, *, trust_checkpoints: bool = True) -> None:
        self.root = root
        self._log = root / TABLE_FOLDER / "_delta_log"
        self._last = -1
        self._checkpoint = 0
        self._units: set[str] = set()
        self._files: dict[str, DataFile] = {}
        self._epoch = 0
        numbers, proofs = _look(self._log)
        if not numbers:
            raise OutputError(
                f"{root} holds no audiomill output (no manifest in it); name the `output` folder "
                "of a job, or run the job first"
            )
        for number in sorted(proofs, reverse=True) if trust_checkpoints else ():
            if self._read_checkpoint(number):
                break
        if self.refresh() < max(numbers):
            raise OutputError(
                f"{self._log / entry_name(self._last + 1)} is missing, and there are later ones; "
                "restore it from a backup, or run the job into a new output"
            )

    @classmethod
    def create(cls, root: Path, schema: Schema) -> "DeltaStore":
        """The store under `root`, made if it is not there yet, whoever else makes it as well."""
        log = root / TABLE_FOLDER / "_delta_log"
        try:
            log.mkdir(parents=True, exist_ok=True)
            if not create_file(log / entry_name(0), first_entry(schema, "audiomill manifest")):
                # Whoever made it may not have come to that.
                sync(log)
        except OSError as error:
            raise storage_error(log, error) from error
        return cls(root)

    def refresh(self) -> int:
        """Reads the entries that came since; returns the last number."""
        while True:
            path = self._log / entry_name(self._last + 1)
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                return self._last
            except OSError as error:
                raise storage_error(path, error) from error
            self._take(read_entry(str(path), data), self._last + 1)

    def is_committed(self, unit: str) -> bool:
        return unit in self._units

    def epoch(self) -> int:
        return self._epoch

    def units(self) -> frozenset[str]:
        """Units of which an entry has been seen."""
        return frozenset(self._units)

    def committed_files(self) -> Collection[DataFile]:
        return list(self._files.values())

    def append(self, number: int, unit: str, files: Sequence[DataFile], epoch: int) -> bool:
        if number > self._last + 1:
            raise ValueError(f"entry {number} after {self._last} would leave a gap")
        if not create_file(self._log / entry_name(number), unit_entry(unit, files, epoch)):
            return False
        since = number - self._checkpoint
        if since >= max(COMMITS_PER_CHECKPOINT, number // CHECKPOINT_SHARE):
            self._make_checkpoint()
        return True

    def list_files(self) -> Collection[str]:
        """Names of data files, and of leftovers of writes that were cut off."""
        tables = sorted(path for path in (self.root / TABLE_FOLDER).glob("*=*") if path.is_dir())
        found = [p for folder in (*tables, self.root / SHARDS_FOLDER) for p in _files_in(folder)]
        found += [path for path in _files_in(self._log) if path.name.endswith(PART_ENDING)]
        return [path.relative_to(self.root).as_posix() for path in found]

    def delete(self, name: str) -> None:
        try:
            (self.root / name).unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(self.root / name, error) from error

    def _take(self, entry: Entry, number: int) -> None:
        self._units |= entry.units
        self._files |= {file.name: file for file in entry.files}
        if entry.epoch is not None:
            self._epoch = entry.epoch
        self._last = number

    def _read_checkpoint(self, number: int) -> bool:
        path = self._log / f"{number:020}{_CHECKPOINT}"
        try:
            entry = _checkpoint_entry(_proved_checkpoint(self._log, number))
        except (OSError, ValueError) as error:
            _warn("%s is not used: %s", path, error)
            return False
        self._take(entry, number)
        self._checkpoint = number
        return True

    def _make_checkpoint(self) -> None:
        """A failure is only noted: the entries are the truth."""
        self._checkpoint = self.refresh()  # the next one is due later, whatever comes of this one
        try:
            if not self._checkpointed():
                # An earlier one is rotten, and deltalake builds on it: do it from the entries.
                for path in self._log.glob(f"*{_CHECKPOINT}"):
                    path.unlink(missing_ok=True)
                (self._log / "_last_checkpoint").unlink(missing_ok=True)
                self._checkpointed()
        except OSError as error:
            _warn("no checkpoint of %s: %s", self._log, error)

    def _checkpointed(self) -> bool:
        """Makes one of all that was read, and proves it if it says the same."""
        path = self._log / f"{self._last:020}{_CHECKPOINT}"
        try:
            DeltaTable(str(self._log.parent), version=self._last).create_checkpoint()
            data = path.read_bytes()
            entry = _checkpoint_entry(data)
        except (DeltaError, ValueError) as error:
            _warn("no checkpoint of %s: %s", self._log, error)
            return False
        files = {file.name: file for file in entry.files}
        if (set(entry.units), files, entry.epoch or 0) != (self._units, self._files, self._epoch):
            _warn("%s does not say what the entries say", path)
            return False
        sync(path)
        write_text(self._log / f"{self._last:020}{_PROOF}", hashlib.sha256(data).hexdigest())
        return True


def is_untouched(root: Path) -> bool:
    """Whether no unit was ever committed under `root`; its log need not be whole."""
    return max(_look(root / TABLE_FOLDER / "_delta_log")[0], default=0) == 0


def _look(log: Path) -> tuple[list[int], list[int]]:
    """Numbers of the entries, and of the checkpoints that can be proved whole."""
    try:
        names = os.listdir(log)
    except FileNotFoundError:
        return [], []
    except OSError as error:
        raise storage_error(log, error) from error
    numbers = [number for name in names if (number := number_of(name)) is not None]
    proofs = [int(name[:20]) for name in names if name[20:] == _PROOF and name[:20].isdecimal()]
    return numbers, proofs


def rotten_checkpoints(root: Path) -> list[str]:
    """Names of the checkpoints under `root` that are not as they were written."""
    log = root / TABLE_FOLDER / "_delta_log"
    rotten = []
    for number in sorted(_look(log)[1]):
        try:
            _proved_checkpoint(log, number)
        except FileNotFoundError:
            continue  # only its proof is left
        except (OSError, ValueError):
            path = log / f"{number:020}{_CHECKPOINT}"
            rotten.append(path.relative_to(root).as_posix())
    return rotten


def _proved_checkpoint(log: Path, number: int) -> bytes:
    data = (log / f"{number:020}{_CHECKPOINT}").read_bytes()
    proof = (log / f"{number:020}{_PROOF}").read_text(encoding="utf-8")
    if hashlib.sha256(data).hexdigest() != proof:
        raise ValueError("its checksum disagrees")
    return data


def _checkpoint_entry(data: bytes) -> Entry:
    rows = pq.read_table(pa.BufferReader(data), columns=["add", "txn"]).to_pylist()
    return entry_of(rows)


def _warn(message: str, *arguments: object) -> None:
    logging.getLogger(__name__).warning(message, *arguments)


def _files_in(folder: Path) -> list[Path]:
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        return sorted(Path(e.path) for e in entries if not e.is_dir(follow_symlinks=False))
    return []
