"""A window: some row groups, packed once for all epochs, then dealt anew in each.

How many sequences a window makes must not depend on the epoch, or nobody could say where step
100,000 is without packing all that comes before it. So the shape of the packing is settled once,
and an epoch exchanges samples of equal length and the order of the sequences.
"""

# Shapes: P samples or pieces of samples, S sequences.

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from model.loader.order import seeded_order
from model.loader.packing import pack

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pieces:
    """What is packed: whole samples, and pieces of those that are longer than the context."""

    row: Integers
    """`[P]`: the row in the window."""
    first: Integers
    """`[P]`: first position of the piece within its sample."""
    length: Integers
    """`[P]`: positions."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What became of rows."""

    num_samples: int
    num_cut: int
    """Samples longer than the context that were cut into pieces."""
    num_left_out: int
    """Samples longer than the context that cannot be cut."""
    num_none: int
    """Rows that serve no sample of the kind."""


def cut(lengths: Integers, context_length: int, can_be_cut: bool) -> tuple[Pieces, Counted]:
    """Pieces of the samples in order; only the last piece of a sample is shorter than the context.

    A length of 0 makes none. Nor does one above the context, unless samples can be cut.
    """
    is_long = lengths > context_length
    num_pieces = -(-lengths // context_length)
    if not can_be_cut:
        num_pieces[is_long] = 0
    row = np.repeat(np.arange(len(lengths)), num_pieces)
    number = np.arange(len(row)) - np.repeat(np.cumsum(num_pieces) - num_pieces, num_pieces)
    first = number * context_length
    length = np.minimum(lengths[row] - first, context_length)
    num_long = int(is_long.sum())
    return Pieces(row, first, length), Counted(
        num_samples=int((num_pieces > 0).sum()),
        num_cut=num_long if can_be_cut else 0,
        num_left_out=0 if can_be_cut else num_long,
        num_none=int((lengths == 0).sum()),
    )


@dataclass(frozen=True)
class Window:
    """The packing of a window."""

    pieces: Pieces
    members: Integers
    """`[P]`: pieces, sequence by sequence."""
    ends: Integers
    """`[S]`: one past the last member of each sequence."""

    @classmethod
    def packed(cls, pieces: Pieces, context_length: int, *key: str | int) -> "Window":
        """The packing that `key` decides."""
        shuffled = seeded_order(len(pieces.row), "pack", *key)
        bin_of = pack(pieces.length[shuffled], context_length)
        members = shuffled[np.argsort(bin_of, kind="stable")]
        return cls(pieces, members, np.cumsum(np.bincount(bin_of), dtype=np.int64))

    @property
    def num_sequences(self) -> int:
        return len(self.ends)

    @cached_property
    def tokens(self) -> Integers:
        """`[S]`: positions in use of each sequence."""
        lengths = self.pieces.length[self.members]
        starts = np.concatenate([np.zeros(1, np.int64), self.ends[:-1]])
        return np.add.reduceat(lengths, starts) if len(starts) and len(lengths) else self.ends

    def in_epoch(self, *key: str | int) -> "EpochWindow":
        """The same packing in the order that `key` decides."""
        pieces = self.pieces
        drawn = seeded_order(len(pieces.row), "exchange", *key)
        by_length = np.argsort(pieces.length, kind="stable")
        exchanged = np.empty_like(by_length)
        exchanged[by_length] = np.lexsort((drawn, pieces.length))
        return EpochWindow(
            self, exchanged[self.members], seeded_order(self.num_sequences, "order", *key)
        )


@dataclass(frozen=True)
class EpochWindow:
    """A window as one epoch goes through it."""

    window: Window
    members: Integers
    """`[P]`: pieces, sequence by sequence of the packing."""
    order: Integers
    """`[S]`: sequences of the packing as they come."""

    @cached_property
    def tokens_before(self) -> Integers:
        """`[S + 1]`: positions in use before each sequence as they come, and in all."""
        tokens = self.window.tokens[self.order]
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(tokens)])

    def sequence(self, place: int) -> list[tuple[int, int, int]]:
        """Row, first position and length of each document of the sequence at that place."""
        number = int(self.order[place])
        start = int(self.window.ends[number - 1]) if number else 0
        members = self.members[start : int(self.window.ends[number])]
        pieces = self.window.pieces
        return list(
            zip(
                pieces.row[members].tolist(),
                pieces.first[members].tolist(),
                pieces.length[members].tolist(),
                strict=True,
            )
        )
