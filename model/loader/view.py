"""The loader as other stacks want their data: with a length, by number."""

from typing import Generic, TypeVar

from model.loader.batch import PackedSequence
from model.loader.loader import Loader

Laid = TypeVar("Laid", covariant=True)


class SequenceView(Generic[Laid]):
    """The first sequences of a loader; fit for torch's `DataLoader` with any number of workers.

    `num_sequences` ends it, by default as many as one epoch of every source makes. Numbers are best
    asked for in order, because a window is decoded as a whole.
    """

    def __init__(self, loader: Loader[Laid], num_sequences: int | None = None) -> None:
        self._loader = loader
        self._length = loader.num_sequences if num_sequences is None else num_sequences

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, number: int) -> PackedSequence[Laid]:
        if not -self._length <= number < self._length:
            raise IndexError(f"sequence {number} of {self._length}")
        return self._loader.sequence(number % self._length)
