"""The loader as the trainer wants it: steps in order, made ahead in a thread."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from model.loader import Batch, Loader
from model.tasks import Example


class ShardSteps:
    """Steps of a loader; asked for one after the other they are ready before they are wanted."""

    def __init__(self, loader: Loader[Example], ahead: int = 2) -> None:
        self._loader, self._ahead = loader, ahead
        self._coming: Iterator[Batch[Example]] | None = None
        self._next: tuple[int, int, int] | None = None

    @property
    def facts(self) -> Mapping[str, Any]:
        """Of all that decides what is in a step, as plain values."""
        facts: Mapping[str, Any] = self._loader.state(0)["facts"]
        return facts

    def sequences(self, step: int, rank: int, world: int) -> Sequence[Sequence[Example]]:
        """This rank's packed sequences of a step, each the documents in it."""
        if self._coming is None or self._next != (step, rank, world):
            self._coming = self._loader.batches(
                step, rank=rank, world_size=world, ahead=self._ahead
            )
        batch = next(self._coming)
        self._next = (step + 1, rank, world)
        return [[document.content for document in one.documents] for one in batch.sequences]
