"""The sequences of one source with their documents laid out."""

from bisect import bisect_right
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Generic, TypeVar

from model.loader.batch import Document, PackedSequence
from model.loader.committed import Committed
from model.loader.loader_spec import LoaderSource
from model.loader.read_ahead import ReadAhead
from model.loader.row_index import RowIndex, row_index
from model.loader.shard import GroupRows, Shard
from model.loader.stream import Place, SourceStream, StreamFacts
from model.loader.windows import Counted
from schemas.errors import OutputError, StorageError
from schemas.ids import digest

Laid = TypeVar("Laid", covariant=True)

_OPEN_SHARDS = 256
"""Whose footers are kept, about 0.1 MB each."""


class SourceRows(Generic[Laid]):
    """Sequences by number. Decoded row groups of two windows are held: of the one that is gone
    through, and of the one that comes next."""

    def __init__(
        self,
        source: LoaderSource[Laid],
        committed: Committed,
        number: int,
        folder: Path,
        *,
        seed: int,
        context_length: int,
        window_groups: int,
        num_threads: int | None,
    ) -> None:
        self._committed, self._sample, self._number = committed, source.sample, number
        self._context_length = context_length
        self._index: RowIndex = row_index(committed, source.sample, folder)
        facts = StreamFacts(
            index=digest(committed.digest, source.sample.name),
            seed=seed,
            number=number,
            context_length=context_length,
            window_groups=window_groups,
            can_be_cut=source.sample.can_be_cut,
        )
        self.stream = SourceStream(self._index, facts, folder, self._why_none)
        # Bound to this object, not to its class: caches must not outlive it.
        self._shard = lru_cache(_OPEN_SHARDS)(self._open_shard)
        is_local = committed.storage.local_folder is not None
        if num_threads is None:
            num_threads = 0 if is_local else 1
        self._tells_disk = is_local and not num_threads
        self._read = ReadAhead(self._read_group, 2 * window_groups, num_threads)
        self._current: tuple[int, dict[int, GroupRows]] = (-1, {})
        self._starts = lru_cache(4)(self._find_starts)

    def sequence(self, number: int, place_of_all: int) -> PackedSequence[Laid]:
        """Sequence `number` of the source, which is `place_of_all` in the order of all sources."""
        place = self.stream.locate(number)
        groups, starts = self._starts(place.window)
        at_hand = self._at_hand(place, groups)
        documents, at = [], 0
        for row, first, length in self.stream.sequence(place):
            which = bisect_right(starts, row) - 1
            if (rows := at_hand.get(which)) is None:
                rows = at_hand[which] = self._read.get(groups[which])
            row -= starts[which]
            content = self._sample.lay_out(rows, row, first, length)
            documents.append(Document(content, at, length, first, rows, row))
            at += length
        return PackedSequence(place_of_all, self._number, place.epoch, tuple(documents))

    def _why_none(self, counted: Counted) -> str:
        numbers = counted.num_none, counted.num_left_out
        said = self._sample.why_none(*numbers, self._context_length)
        return f"{self._committed.storage.shown}: no row makes a sequence: {said}"

    def close(self) -> None:
        """Ends the threads that read ahead."""
        self._current = (-1, {})
        self._read.close()

    def _at_hand(self, place: Place, groups: list[int]) -> dict[int, GroupRows]:
        """Row groups of the window that were asked for; entering it begins to read all of them."""
        window, rows = self._current
        if window != place.window:
            after = self.stream.groups(self.stream.window_after(place))
            self._read.announce(groups)
            self._read.announce(after)
            if self._tells_disk:
                self._tell_disk(after)
            rows = {}
            self._current = (place.window, rows)
        return rows

    def _tell_disk(self, groups: list[int]) -> None:
        for number in groups:
            with suppress(OutputError, StorageError):  # told when it is read
                shard = self._shard(int(self._index.shard[number]))
                shard.will_need(
                    int(self._index.group[number]), self._sample.columns, self._sample.num_codebooks
                )

    def _find_starts(self, window: int) -> tuple[list[int], list[int]]:
        """Row groups of a window, and the row of the window that each begins with."""
        groups, starts, rows = self.stream.groups(window), [], 0
        for group in groups:
            starts.append(rows)
            rows += int(self._index.start[group + 1] - self._index.start[group])
        return groups, starts

    def _open_shard(self, number: int) -> Shard:
        committed = self._committed
        return Shard(committed.storage, committed.file(number), committed.tokenizer)

    def _read_group(self, number: int) -> GroupRows:
        shard = self._shard(int(self._index.shard[number]))
        sample = self._sample
        return shard.group(int(self._index.group[number]), sample.columns, sample.num_codebooks)
