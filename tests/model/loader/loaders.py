"""Loaders for tests, and what two of them are compared by."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from model.loader import Batch, CodesSample, Loader, LoaderSource, LoaderSpec, PackedSequence
from schemas.codes import Codes

CONTEXT = 128
Told = tuple[str, int, int, int]
"""Segment, first position, length, start in the sequence."""


def source(uri: object, weight: float = 1.0, **more: Any) -> LoaderSource[Codes]:
    return LoaderSource(uri=str(uri), sample=CodesSample(), weight=weight, **more)


def loader(*sources: object, cache_folder: Path, **more: Any) -> Loader[Codes]:
    """Of outputs or sources; 6 sequences a step, windows of 3 row groups."""
    facts = {"context_length": CONTEXT, "sequences_per_step": 6, "window_groups": 3} | more
    made = tuple(s if isinstance(s, LoaderSource) else source(s) for s in sources)
    return Loader(LoaderSpec(sources=made, **facts), cache_folder)


def told(sequence: PackedSequence[Codes]) -> tuple[Told, ...]:
    return tuple((d.segment_id, d.first, d.length, d.start) for d in sequence.documents)


def order(batches: Iterable[Batch[Codes]]) -> list[tuple[Told, ...]]:
    """All that says which document lies where."""
    return [told(sequence) for batch in batches for sequence in batch.sequences]


def steps(found: Loader[Codes], first: int, stop: int, world_size: int = 1) -> list[Any]:
    """The order of some steps, put together from all ranks of a world."""
    return order(
        found.batch(step, rank=rank, world_size=world_size)
        for step in range(first, stop)
        for rank in range(world_size)
    )


def equal_content(left: Batch[Codes], right: Batch[Codes]) -> bool:
    return all(
        np.array_equal(mine.content, theirs.content)
        for one, other in zip(left.sequences, right.sequences, strict=True)
        for mine, theirs in zip(one.documents, other.documents, strict=True)
    )
