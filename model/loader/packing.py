"""Samples into sequences: how many it takes, and which sample goes where."""

from bisect import bisect_left, bisect_right

import numpy as np
import numpy.typing as npt

LARGE = 8
"""A sample of more than a context's eighth is placed by its size, a smaller one as it comes."""

Lengths = npt.NDArray[np.int64]


def pack(lengths: Lengths, context_length: int) -> npt.NDArray[np.int64]:
    """The sequence of each sample, from 0, none of them empty or above `context_length`.

    Large samples go first, the largest before all, each where it leaves the least room (best fit
    decreasing). The small ones stay in the order given, so that a sequence is a mix of lengths
    and costs what the next one does: one after the other into new sequences as long as they are
    more than the room left, then best fit into that. So the work is Python's for each sequence and
    each large sample, not for each small one. `lengths` are 1 to `context_length`.
    """
    bin_of = np.empty(len(lengths), np.int64)
    bins = _Bins(context_length)
    is_large = lengths * LARGE > context_length
    large = np.flatnonzero(is_large)
    for item in large[np.argsort(-lengths[large], kind="stable")].tolist():
        bin_of[item] = bins.place(int(lengths[item]))
    small = np.flatnonzero(~is_large)
    if not len(small):
        return bin_of
    ends = np.cumsum(lengths[small]).tolist()
    done = 0
    while done < len(small):
        before = ends[done - 1] if done else 0
        if ends[-1] - before <= bins.room:
            break
        stop = bisect_right(ends, before + context_length, lo=done)
        bin_of[small[done:stop]] = bins.add(ends[stop - 1] - before)
        done = stop
    for item in small[done:].tolist():
        bin_of[item] = bins.place(int(lengths[item]))
    return bin_of


class _Bins:
    """Sequences that have room, by how much."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._free: list[int] = []
        self._numbers: list[int] = []
        self._count = 0
        self.room = 0
        """Of all of them."""

    def place(self, length: int) -> int:
        """The sequence with the least room that is enough, or a new one."""
        at = bisect_left(self._free, length)
        if at == len(self._free):
            return self.add(length)
        rest, number = self._free.pop(at) - length, self._numbers.pop(at)
        self.room -= length
        self._keep(rest, number)
        return number

    def add(self, length: int) -> int:
        """A new sequence that holds so much."""
        number = self._count
        self._count += 1
        self.room += self._capacity - length
        self._keep(self._capacity - length, number)
        return number

    def _keep(self, rest: int, number: int) -> None:
        if rest:
            at = bisect_left(self._free, rest)
            self._free.insert(at, rest)
            self._numbers.insert(at, number)
