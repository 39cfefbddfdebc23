"""`Store` of an output: data files, and the log as a Delta log beside them.

An entry is a file that is linked into the log under its number, which is put-if-absent on local
disks and on NFS; on an object store it is an object (`working_copy.py`, `bucket.py`). Opening reads
the newest checkpoint and the entries after it; from there on a refresh costs one failed `open`.
An entry may also take files away (`forget.py`); a working copy then loses its copies of them.
Checkpoints (`checkpoint.py`) are made rarer and rarer as the log grows, and are copies: one that is
torn or rotten is not used, and not built upon.
"""

import hashlib
import json
import logging
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from deltalake import Schema

from pipeline.checkpoint import Action, actions_in, checkpoint_of
from pipeline.data_name import epoch_of
from pipeline.delta_log import (
    PARTITION,
    TABLE_FOLDER,
    Entry,
    Replacement,
    actions_of,
    entry_name,
    entry_of,
    first_entry,
    number_of,
    read_entry,
    replacing_entry,
    unit_entry,
)
from pipeline.files import PART_ENDING, storage_error, sync, write_text
from pipeline.log_state import LogState
from pipeline.store import DataFile
from pipeline.working_copy import create, drop_stale, has, listing, publish, read, remove
from schemas.errors import OutputError, StorageError

SHARDS_FOLDER = "shards"
COMMITS_PER_CHECKPOINT = 100
CHECKPOINT_SHARE = 10
"""A checkpoint every tenth of the log at least, so that all of them together cost O(commits)."""
LOG_FOLDER = f"{TABLE_FOLDER}/_delta_log"
_TOMBSTONES = f"{TABLE_FOLDER}/{PARTITION}=tombstones/"
_CHECKPOINT = ".checkpoint.parquet"
_LAST_CHECKPOINT = "_last_checkpoint"
_PROOF = ".checkpoint.sha256"


class DeltaStore:
    """The store under `root`; raises `OutputError` if there is none, or its log is damaged."""

    def __init__(self, root: Path, *, trust_checkpoints: bool = True) -> None:
        self.root = root
        self._log = root / LOG_FOLDER
        self._last = -1
        self._checkpoint = 0
        self._state = LogState()
        numbers, proofs = _look(root)
        if not numbers:
            raise OutputError(
                f"{root} holds no audiomill output (no manifest in it); name the `output` folder "
                "of a job, or run the job first"
            )
        for number in sorted(proofs, reverse=True) if trust_checkpoints else ():
            if self._read_checkpoint(number):
                break
        if self.refresh() < max([*numbers, *proofs]):
            raise self._missing(self._last + 1)
        if not has(root, f"{LOG_FOLDER}/{entry_name(self._checkpoint)}"):
            raise self._missing(self._checkpoint)
        if any(name.startswith(_TOMBSTONES) for name in self._state.files):
            drop_stale(root, self._is_garbage)

    @classmethod
    def create(cls, root: Path, schema: Schema) -> "DeltaStore":
        """The store under `root`, made if it is not there yet, whoever else makes it as well."""
        log = root / LOG_FOLDER
        first = first_entry(schema, "audiomill manifest")
        try:
            log.mkdir(parents=True, exist_ok=True)
            if not create(root, f"{LOG_FOLDER}/{entry_name(0)}", first):
                # Whoever made it may not have come to that.
                sync(log)
        except OSError as error:
            raise storage_error(log, error) from error
        return cls(root)

    def refresh(self) -> int:
        """Reads the entries that came since; returns the last number."""
        while True:
            name = f"{LOG_FOLDER}/{entry_name(self._last + 1)}"
            try:
                data = read(self.root, name)
            except FileNotFoundError:
                return self._last
            except OSError as error:
                raise storage_error(self.root / name, error) from error
            self._take(read_entry(str(self.root / name), data), self._last + 1)

    def is_committed(self, unit: str) -> bool:
        return unit in self._state.units

    def epoch(self) -> int:
        return self._state.epoch

    def units(self) -> frozenset[str]:
        """Units of which an entry has been seen."""
        return frozenset(self._state.units)

    def committed_files(self) -> Collection[DataFile]:
        return list(self._state.files.values())

    def append(self, number: int, unit: str, files: Sequence[DataFile], epoch: int) -> bool:
        return self._append(number, unit_entry(unit, files, epoch))

    def replace(
        self,
        number: int,
        unit: str,
        replacements: Sequence[Replacement],
        files: Sequence[DataFile],
        epoch: int,
    ) -> bool:
        """`append`, by an entry that puts files in the place of others as well."""
        return self._append(number, replacing_entry(unit, replacements, files, epoch))

    def _append(self, number: int, entry: bytes) -> bool:
        if number > self._last + 1:
            raise ValueError(f"entry {number} after {self._last} would leave a gap")
        if not create(self.root, f"{LOG_FOLDER}/{entry_name(number)}", entry):
            return False
        since = number - self._checkpoint
        if since >= max(COMMITS_PER_CHECKPOINT, number // CHECKPOINT_SHARE):
            self._make_checkpoint()
        return True

    def list_files(self) -> Collection[str]:
        """Names of data files, and of leftovers of writes that were cut off."""
        found = (*listing(self.root, TABLE_FOLDER), *listing(self.root, SHARDS_FOLDER))
        return [name for name in found if not _is_of_log(name) or name.endswith(PART_ENDING)]

    def delete(self, name: str) -> None:
        remove(self.root, name)

    def _take(self, entry: Entry, number: int) -> None:
        self._state.take(entry)
        self._last = number

    def _missing(self, number: int) -> OutputError:
        return OutputError(
            f"{self._log / entry_name(number)} is missing, and there are later ones; restore it "
            "from a backup, or run the job into a new output"
        )

    def _is_garbage(self, name: str) -> bool:
        """Whether no entry names that data file, nor ever will (see `garbage.py`)."""
        epoch = epoch_of(name)
        return epoch is not None and epoch < self._state.epoch and name not in self._state.files

    def _read_checkpoint(self, number: int) -> bool:
        try:
            entry = _checkpoint_entry(_proved_checkpoint(self.root, number))
        except (OSError, ValueError) as error:
            _warn("%s is not used: %s", self.root / _checkpoint_name(number), error)
            return False
        self._take(entry, number)
        self._checkpoint = number
        return True

    def _make_checkpoint(self) -> None:
        """A failure is only noted: the entries are the truth."""
        base = self._checkpoint
        try:
            self._checkpoint = self.refresh()  # the next one is due later, whatever comes of this
            self._write_checkpoint(base)
        except (OSError, StorageError, ValueError) as error:
            _warn("no checkpoint of %s: %s", self._log, error)

    def _write_checkpoint(self, base: int) -> None:
        """Writes one of all that was read, from an earlier one where it can."""
        try:
            earlier = _proved_checkpoint(self.root, base)
        except (OSError, ValueError):
            earlier, base = None, -1
        data, num_rows = checkpoint_of(earlier, self._actions(base + 1))
        if LogState.of([_checkpoint_entry(data)]) != self._state:
            raise ValueError("it would not say what the entries say")
        if not create(self.root, _checkpoint_name(self._last), data):
            return  # another driver made it, and proves it
        size = {"size": num_rows, "sizeInBytes": len(data)}
        newest = f"{LOG_FOLDER}/{_LAST_CHECKPOINT}"
        write_text(self.root / newest, json.dumps({"version": self._last} | size))
        publish(self.root, newest)
        # The proof last: without it nobody here reads the rest.
        create(self.root, _proof_name(self._last), hashlib.sha256(data).hexdigest().encode())

    def _actions(self, first: int) -> Iterator[Action]:
        """What the entries from `first` on say, line by line."""
        for number in range(first, self._last + 1):
            name = f"{LOG_FOLDER}/{entry_name(number)}"
            yield from actions_of(str(self.root / name), read(self.root, name))


def is_untouched(root: Path) -> bool:
    """Whether no unit was ever committed under `root`; its log need not be whole."""
    return max(_look(root)[0], default=0) == 0


def _look(root: Path) -> tuple[list[int], list[int]]:
    """Numbers of the entries, and of the checkpoints that can be proved whole."""
    names = [name.rpartition("/")[2] for name in listing(root, LOG_FOLDER)]
    numbers = [number for name in names if (number := number_of(name)) is not None]
    proofs = [int(name[:20]) for name in names if name[20:] == _PROOF and name[:20].isdecimal()]
    return numbers, proofs


def wrong_checkpoints(root: Path) -> list[str]:
    """A line for each checkpoint under `root` that does not say what the entries say."""
    proofs = _look(root)[1]
    state = LogState()
    wrong = []
    for number in range(max(proofs, default=-1) + 1):
        name = f"{LOG_FOLDER}/{entry_name(number)}"
        state.take(read_entry(str(root / name), read(root, name)))
        if number not in proofs:
            continue
        try:
            found = LogState.of([_checkpoint_entry(_proved_checkpoint(root, number))])
        except FileNotFoundError:
            continue  # only its proof is left
        except (OSError, ValueError):
            wrong.append(f"{_checkpoint_name(number)}: this checkpoint is not as it was written")
        else:
            if found != state:
                said = "this checkpoint does not say what the entries say"
                wrong.append(f"{_checkpoint_name(number)}: {said}")
    return wrong


def _proved_checkpoint(root: Path, number: int) -> bytes:
    data = read(root, _checkpoint_name(number))
    proof = read(root, _proof_name(number)).decode()
    if hashlib.sha256(data).hexdigest() != proof:
        raise ValueError("its checksum disagrees")
    return data


def _checkpoint_entry(data: bytes) -> Entry:
    return entry_of(actions_in(data, ["add", "txn"]))


def _warn(message: str, *arguments: object) -> None:
    logging.getLogger(__name__).warning(message, *arguments)


def _checkpoint_name(number: int) -> str:
    return f"{LOG_FOLDER}/{number:020}{_CHECKPOINT}"


def _proof_name(number: int) -> str:
    return f"{LOG_FOLDER}/{number:020}{_PROOF}"


def _is_of_log(name: str) -> bool:
    return name.startswith(f"{LOG_FOLDER}/")
