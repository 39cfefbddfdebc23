"""The plainest sample: a segment's codes, one position a frame."""

# Shapes: C codebooks, T positions of the context, B sequences.

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.loader.batch import PackedSequence
from model.loader.sample import Lengths
from model.loader.shard import GroupRows
from schemas.codes import Codes

NO_DOCUMENT = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class CodesSample:
    """Codes `[C, frames]` of every row; a row longer than the context is cut into pieces."""

    num_codebooks: int = 8
    columns: tuple[str, ...] = ("text",)
    """What documents carry along, to be asked for with `Document.value`."""

    @property
    def name(self) -> str:
        return f"codes/{self.num_codebooks}"

    @property
    def length_columns(self) -> tuple[str, ...]:
        return ()

    @property
    def can_be_cut(self) -> bool:
        return True

    def why_none(self, num_none: int, num_left_out: int, context_length: int) -> str:
        return f"{num_none} rows have no codes; name an output whose job has a 'tokenize' section"

    def lengths_of(self, rows: GroupRows) -> Lengths:
        return rows.table["num_frames"].to_numpy().astype(np.int64)

    def lay_out(self, rows: GroupRows, row: int, first: int, length: int) -> Codes:
        return rows.codes(row, first, length)


def stack_codes(
    sequences: Sequence[PackedSequence[Codes]], num_codebooks: int, context_length: int
) -> npt.NDArray[np.uint16]:
    """Codes `[B, C, T]` of the sequences, zeros behind the last document of each."""
    codes_BCT = np.empty((len(sequences), num_codebooks, context_length), np.uint16)
    for codes_CT, sequence in zip(codes_BCT, sequences, strict=True):
        for document in sequence.documents:
            codes_CT[:, document.start : document.start + document.length] = document.content
        codes_CT[:, sequence.num_positions :] = 0
    return codes_BCT


def document_numbers(
    sequences: Sequence[PackedSequence[object]], context_length: int
) -> npt.NDArray[np.int32]:
    """`[B, T]`: which document of its sequence a position is in, `NO_DOCUMENT` behind the last."""
    numbers_BT = np.full((len(sequences), context_length), NO_DOCUMENT, np.int32)
    for numbers_T, sequence in zip(numbers_BT, sequences, strict=True):
        lengths = [document.length for document in sequence.documents]
        numbers_T[: sequence.num_positions] = np.repeat(np.arange(len(lengths)), lengths)
    return numbers_BT
