"""What a row of a shard becomes: the loader plans with lengths and lays out what a step needs."""

from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from model.loader.shard import GroupRows

Lengths = npt.NDArray[np.int64]
Laid = TypeVar("Laid", covariant=True)


class Sample(Protocol[Laid]):
    """One kind of sample; all that it says depends on the row, its row group and itself alone.

    Lengths are in positions of the context: frames of codes, or positions of the backbone, as the
    kind of sample has it. A row serves one sample or none.
    """

    @property
    def name(self) -> str:
        """Everything that decides lengths and layout, in words or as a digest: equal names stand
        for equal samples of equal rows, whatever process says so."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that layout reads beside `segment_id` and `num_frames`; documents carry them."""
        ...

    @property
    def length_columns(self) -> tuple[str, ...]:
        """The same of lengths. They are read of every row before the first step, so the fewer the
        better."""
        ...

    @property
    def num_codebooks(self) -> int:
        """Layers of codes that it reads, from the first on; 0 for text alone."""
        ...

    @property
    def can_be_cut(self) -> bool:
        """Whether a sample longer than the context is cut into pieces; else it is left out."""
        ...

    def why_none(self, num_none: int, num_left_out: int, context_length: int) -> str:
        """For a source none of whose rows makes a sequence, in the words of whoever chose this
        kind: so many serve no sample, so many are longer than the context; what was wanted."""
        ...

    def lengths_of(self, rows: GroupRows) -> Lengths:
        """Positions of each row's sample, `[rows]`; 0 where the row serves none. Without codes."""
        ...

    def lay_out(self, rows: GroupRows, row: int, first: int, length: int) -> Laid:
        """The sample of a row; of one that was cut, `length` positions from `first` on."""
        ...
