"""What the loader hands out: documents in sequences, sequences in steps."""

from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from model.loader.shard import GroupRows

Laid = TypeVar("Laid", covariant=True)


class Document(NamedTuple, Generic[Laid]):
    """A sample, or a piece of one, in its place.

    A tuple, because making a frozen dataclass takes as long as copying the codes.
    """

    content: Laid
    """As the source's `Sample` lays it out."""
    start: int
    """First position in the sequence."""
    length: int
    """Positions."""
    first: int
    """First position within the sample: not 0 only behind where a sample was cut."""
    rows: GroupRows
    """The row group it comes from."""
    row: int
    """Its row in that group."""

    @property
    def segment_id(self) -> str:
        return str(self.value("segment_id"))

    def value(self, column: str) -> object:
        """What the segment has in one of the sample's columns."""
        return self.rows.value(column, self.row)


@dataclass(frozen=True, slots=True, eq=False)
class PackedSequence(Generic[Laid]):
    """Documents one behind the other, at most the context long; nothing looks across a border."""

    number: int
    """Place in the order of all sequences, from 0 at step 0."""
    source: int
    """Which source it is from: a sequence holds documents of one."""
    epoch: int
    """How often that source was gone through before."""
    documents: tuple[Document[Laid], ...]

    @property
    def num_positions(self) -> int:
        """Positions in use; the rest of the context is padding."""
        last = self.documents[-1]
        return last.start + last.length


@dataclass(frozen=True, slots=True, eq=False)
class Batch(Generic[Laid]):
    """One rank's share of a step, in the order of the whole."""

    step: int
    sequences: tuple[PackedSequence[Laid], ...]
