"""The length of every sample, read once: four bytes a row, mapped into memory, never held."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.loader.committed import Committed
from model.loader.kept import kept
from model.loader.sample import Sample
from model.loader.shard import Shard
from schemas.errors import ModelError
from schemas.ids import digest

_FORMAT = 1
_READERS = 4
"""Shards that are read at once: the wait is for the store, or for the disk."""
_LONGEST = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class RowIndex:
    """The row groups of an output in a fixed order, and the lengths of their samples."""

    shard: npt.NDArray[np.int32]
    """`[groups]`: number of the file in `Committed`."""
    group: npt.NDArray[np.int32]
    """`[groups]`: row group in that file."""
    start: npt.NDArray[np.int64]
    """`[groups + 1]`: rows before each, and in all."""
    length: npt.NDArray[np.uint32]
    """`[rows]`: positions of each row's sample, 0 where it serves none."""

    @property
    def num_groups(self) -> int:
        return len(self.shard)

    def lengths_of(self, group: int) -> npt.NDArray[np.int64]:
        """Lengths of the rows of a row group."""
        return self.length[self.start[group] : self.start[group + 1]].astype(np.int64)


def row_index(committed: Committed, sample: Sample[Any], folder: Path) -> RowIndex:
    """The index of an output for one kind of sample; made if `folder` does not hold it."""
    name = digest("row index", _FORMAT, committed.digest, sample.name)

    def make(part: Path) -> None:
        num_rows = int(np.sum(committed.table["num_rows"].to_numpy()))
        length = np.lib.format.open_memmap(
            part / "length.npy", mode="w+", dtype=np.uint32, shape=(num_rows,)
        )
        shard, group, start = [], [], [0]
        with ThreadPoolExecutor(_READERS) as pool:
            for number, lengths in _in_order(pool, committed, sample):
                for in_shard, of_group in enumerate(lengths):
                    length[start[-1] : start[-1] + len(of_group)] = of_group
                    shard.append(number)
                    group.append(in_shard)
                    start.append(start[-1] + len(of_group))
        length.flush()
        np.save(part / "shard.npy", np.array(shard, np.int32))
        np.save(part / "group.npy", np.array(group, np.int32))
        np.save(part / "start.npy", np.array(start, np.int64))

    arrays = kept(folder / f"rows-{name}", ("shard", "group", "start", "length"), make)
    return RowIndex(**arrays)


def _in_order(
    pool: ThreadPoolExecutor, committed: Committed, sample: Sample[Any]
) -> Iterator[tuple[int, list[npt.NDArray[np.int64]]]]:
    """Lengths of each shard's row groups; few shards are under way at any time."""
    ahead = 2 * _READERS
    for first in range(0, committed.num_files, ahead):
        numbers = range(first, min(first + ahead, committed.num_files))
        yield from zip(
            numbers, pool.map(lambda n: _lengths(committed, n, sample), numbers), strict=True
        )


def _lengths(committed: Committed, number: int, sample: Sample[Any]) -> list[npt.NDArray[np.int64]]:
    file = committed.file(number)
    shard = Shard(committed.storage, file, committed.tokenizer)
    found = []
    for group, num_rows in enumerate(shard.rows_of_groups):
        lengths = sample.lengths_of(shard.group(group, sample.length_columns, 0))
        if lengths.shape != (num_rows,) or lengths.min() < 0 or lengths.max() > _LONGEST:
            raise ModelError(
                f"{file.name}, row group {group}: samples {sample.name!r} give lengths of shape "
                f"{list(lengths.shape)} from {lengths.min()} to {lengths.max()}; wanted one for "
                f"each of {num_rows} rows, from 0 to {_LONGEST}"
            )
        found.append(lengths)
    return found
