"""All sequences of one source in their order, without end, addressed by number.

Place of sequence `m`: epoch `m // N`, then a search among the windows of that epoch, then a place
in one window. N, the sequences of an epoch, is the same for every epoch, so nothing is replayed.
"""

# Shapes: W windows.

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from model.loader.kept import kept
from model.loader.order import seeded_order
from model.loader.row_index import RowIndex
from model.loader.windows import Counted, EpochWindow, Integers, Window, cut
from schemas.errors import TrainingError
from schemas.ids import digest

_FORMAT = 1
_WINDOWS_AT_HAND = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamFacts:
    """What decides the stream over a row index."""

    index: str
    """Digest of the index: manifest and kind of sample."""
    seed: int
    number: int
    """Of the source, so that two over the same rows differ in order."""
    context_length: int
    window_groups: int
    can_be_cut: bool

    def digest(self) -> str:
        return digest(
            *("stream", _FORMAT, self.index, self.seed, self.number),
            *(self.context_length, self.window_groups, int(self.can_be_cut)),
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sequence is."""

    epoch: int
    window: int
    place: int
    """In the window, as that epoch goes through it."""


@dataclass(frozen=True)
class _Epoch:
    """Windows as they come in an epoch, and what lies before each."""

    order: Integers
    sequences: Integers
    """`[W + 1]`"""
    tokens: Integers
    """`[W + 1]`"""


class SourceStream:
    """The sequences of one source. `folder` keeps what was counted.

    Raises `TrainingError` with what `why_none` says of the counts where there are no sequences.
    """

    def __init__(
        self,
        index: RowIndex,
        facts: StreamFacts,
        folder: Path,
        why_none: Callable[[Counted], str],
    ) -> None:
        self._index, self._facts = index, facts
        self._key = facts.digest()
        arrays = kept(
            folder / f"plan-{self._key}", ("order", "sequences", "tokens", "counted"), self._count
        )
        self._order = arrays["order"]
        self._sequences = arrays["sequences"]
        self._tokens = arrays["tokens"]
        self.counted = Counted(*arrays["counted"].tolist())
        """What became of the rows of an epoch."""
        self.num_sequences = int(self._sequences.sum())
        """Of an epoch."""
        self.num_tokens = int(self._tokens.sum())
        """Positions in use in an epoch."""
        if not self.num_sequences:
            raise TrainingError(why_none(self.counted))
        # Bound to this object, not to its class: caches must not outlive it.
        self._epoch: Callable[[int], _Epoch] = lru_cache(2)(self._make_epoch)
        self._packed: Callable[[int], Window] = lru_cache(_WINDOWS_AT_HAND)(self._pack)
        self._in_epoch: Callable[[int, int], EpochWindow] = lru_cache(_WINDOWS_AT_HAND)(
            self._make_window
        )

    @property
    def num_windows(self) -> int:
        return len(self._sequences)

    def groups(self, window: int) -> list[int]:
        """Row groups of a window, in the order in which its rows are numbered."""
        size = self._facts.window_groups
        found: list[int] = self._order[window * size : (window + 1) * size].tolist()
        return found

    def locate(self, number: int) -> Place:
        """Where sequence `number` is."""
        epoch, rest = divmod(number, self.num_sequences)
        found = self._epoch(epoch)
        at = int(np.searchsorted(found.sequences, rest, side="right")) - 1
        return Place(epoch, int(found.order[at]), rest - int(found.sequences[at]))

    def window_after(self, place: Place) -> int:
        """The window that comes after that of `place`."""
        found = self._epoch(place.epoch)
        (at,) = np.flatnonzero(found.order == place.window)
        if at + 1 < len(found.order):
            return int(found.order[at + 1])
        return int(self._epoch(place.epoch + 1).order[0])

    def sequence(self, place: Place) -> list[tuple[int, int, int]]:
        """Row in the window, first position and length of each document of a sequence."""
        return self._in_epoch(place.epoch, place.window).sequence(place.place)

    def tokens_before(self, number: int) -> int:
        """Positions in use in all sequences before `number`."""
        epoch, rest = divmod(number, self.num_sequences)
        found = self._epoch(epoch)
        at = int(np.searchsorted(found.sequences, rest, side="right")) - 1
        within = self._in_epoch(epoch, int(found.order[at])).tokens_before
        here = int(within[rest - int(found.sequences[at])])
        return epoch * self.num_tokens + int(found.tokens[at]) + here

    def num_before(self, tokens: int) -> int:
        """How many sequences have fewer than `tokens` positions in use before them."""
        if tokens <= 0:
            return 0
        epoch, rest = divmod(tokens - 1, self.num_tokens)
        rest += 1
        found = self._epoch(epoch)
        at = int(np.searchsorted(found.tokens, rest, side="left")) - 1
        within = self._in_epoch(epoch, int(found.order[at])).tokens_before[:-1]
        here = int(np.searchsorted(within, rest - int(found.tokens[at]), side="left"))
        return epoch * self.num_sequences + int(found.sequences[at]) + here

    def _make_epoch(self, epoch: int) -> _Epoch:
        # A window without sequences (no row of it serves a sample) is no place to search in.
        filled = np.flatnonzero(self._sequences)
        order = filled[seeded_order(len(filled), "windows", self._key, epoch)]
        return _Epoch(order, _before(self._sequences[order]), _before(self._tokens[order]))

    def _make_window(self, epoch: int, window: int) -> EpochWindow:
        return self._packed(window).in_epoch(self._key, window, epoch)

    def _pack(self, window: int) -> Window:
        return self._packed_and_counted(window)[0]

    def _packed_and_counted(self, window: int) -> tuple[Window, Counted]:
        facts = self._facts
        lengths = np.concatenate([self._index.lengths_of(g) for g in self.groups(window)])
        pieces, counted = cut(lengths, facts.context_length, facts.can_be_cut)
        return Window.packed(pieces, facts.context_length, self._key, window), counted

    def _count(self, part: Path) -> None:
        """Packs every window once, to know how many sequences it makes."""
        self._order = seeded_order(self._index.num_groups, "groups", self._key)
        sequences, tokens, counted = [], [], []
        for window in range(-(-self._index.num_groups // self._facts.window_groups)):
            packed, of_rows = self._packed_and_counted(window)
            sequences.append(packed.num_sequences)
            tokens.append(int(packed.tokens.sum()))
            counted.append(
                (of_rows.num_samples, of_rows.num_cut, of_rows.num_left_out, of_rows.num_none)
            )
        np.save(part / "order.npy", self._order)
        np.save(part / "sequences.npy", np.array(sequences, np.int64))
        np.save(part / "tokens.npy", np.array(tokens, np.int64))
        np.save(part / "counted.npy", np.array(counted, np.int64).sum(axis=0))


def _before(counts: Integers) -> Integers:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
