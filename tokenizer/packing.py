"""Clips of any length side by side in one matrix, and how its rows are worked through.

A pack is `[num_rows, width]`: the rows of one clip follow those of the one before, and no padding
takes part in anything. Attention looks at one clip at a time; everything between two attentions
is done row by row, so it can be cut anywhere.

On a CPU it is cut into tiles of a few fixed sizes. Two things follow. The intermediate results of
a tile stay in the cache. And a row's result cannot depend on how many rows there are, which
matrix libraries do not promise: they choose their kernels by the number of rows. `tiling.py` checks
on this machine that, inside tiles of these sizes, a row's place does not matter either; where it
does, every clip starts a tile of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Tiling:
    """How rows are cut on this device. `sizes` ascend; a clip starts at a multiple of `align`."""

    sizes: tuple[int, ...]
    align: int = 1


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Where each clip lies. All numbers are on the host, so nothing ever waits for the device."""

    lengths: tuple[int, ...]
    starts: tuple[int, ...]
    num_rows: int
    """Rows of the matrix: the clips', gaps before aligned starts, and what fills the last tile."""
    tiles: tuple[tuple[int, int], ...]
    device: torch.device

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device, tiling: Tiling | None) -> "Pack":
        """The layout of clips of these lengths, in this order."""
        align = tiling.align if tiling else 1
        ends = list(accumulate(-(-length // align) * align for length in lengths))
        starts = [0, *ends[:-1]]
        used = ends[-1] if ends else 0
        tiles = _cut(used, tiling.sizes) if tiling else ((0, used),)
        return cls(
            lengths=tuple(lengths),
            starts=tuple(starts),
            num_rows=tiles[-1][1],
            tiles=tiles,
            device=device,
        )

    @cached_property
    def borders(self) -> list[int]:
        """Rows of each clip and, after each, of the gap that follows it; sums to `num_rows`."""
        ends = [*self.starts[1:], self.num_rows]
        return [
            count
            for start, length, end in zip(self.starts, self.lengths, ends, strict=True)
            for count in (length, end - start - length)
        ]

    @property
    def longest(self) -> int:
        return max(self.lengths, default=0)

    @cached_property
    def positions(self) -> Tensor:
        """Place of each row in its clip, `[num_rows]`; 0 in rows that belong to none."""
        places = np.zeros(self.num_rows, dtype=np.int64)
        for start, length in zip(self.starts, self.lengths, strict=True):
            places[start : start + length] = np.arange(length)
        return _on(places, self.device)

    @cached_property
    def cumulative(self) -> Tensor:
        """Clip borders `[num_clips + 1]`, as kernels for packed sequences want them."""
        borders = np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int32)
        return _on(borders, self.device)

    def of_clip(self, rows: Tensor, index: int) -> Tensor:
        """The rows of one clip, a view."""
        start = self.starts[index]
        return rows[start : start + self.lengths[index]]

    def gather(self, clips: Sequence[Tensor]) -> Tensor:
        """One matrix from the clips' own; rows that belong to none are zero."""
        out = clips[0].new_zeros(self.num_rows, *clips[0].shape[1:])
        for index, clip in enumerate(clips):
            self.of_clip(out, index).copy_(clip)
        return out


def rowwise(
    work: Callable[..., tuple[Tensor, ...]],
    pack: Pack,
    *rows: Tensor,
    out: Sequence[Tensor] | None = None,
) -> tuple[Tensor, ...]:
    """`work(*rows)`, tile by tile. `work` maps rows to rows and mixes none of them.

    `out` names where the results go; it may be an input, since a tile is read before it is written.
    """
    if out is None and len(pack.tiles) == 1:
        return work(*rows)
    for first, last in pack.tiles:
        results = work(*(matrix[first:last] for matrix in rows))
        if out is None:
            out = [part.new_empty(pack.num_rows, *part.shape[1:]) for part in results]
        for whole, part in zip(out, results, strict=True):
            whole[first:last] = part
    return tuple(out or ())


def taps(
    source: Pack,
    target: Pack,
    *,
    stride: int,
    width: int,
    first: int,
    repeat_last: Sequence[bool] | None = None,
) -> Tensor:
    """Which rows of `source` a convolution reads for each row of `target`, `[num_rows, width]`.

    Row t of a clip reads its rows `t*stride + first ...`. Outside the clip it reads row
    `source.num_rows`, which the caller keeps at zero, or, where `repeat_last` says so, the clip's
    last row.
    """
    plan: npt.NDArray[np.int64] = np.full((target.num_rows, width), source.num_rows, dtype=np.int64)
    for index, length in enumerate(source.lengths):
        start, count = target.starts[index], target.lengths[index]
        rows = np.arange(count)[:, None] * stride + first + np.arange(width)
        outside = source.num_rows
        if repeat_last is not None and repeat_last[index]:
            outside = source.starts[index] + length - 1
        inside = (rows >= 0) & (rows < length)
        plan[start : start + count] = np.where(inside, rows + source.starts[index], outside)
    return _on(plan, target.device)


def with_zero_row(rows: Tensor) -> Tensor:
    """The same rows and one of zeros after them, for `taps` to point at."""
    return torch.nn.functional.pad(rows, (0, 0, 0, 1))


def _on(numbers: npt.NDArray[Any], device: torch.device) -> Tensor:
    """The numbers on a device. From pinned memory, because a plain copy waits for all its work."""
    tensor = torch.from_numpy(numbers)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def _cut(num_rows: int, sizes: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Largest tiles first; only the last one, of the smallest size that ends it, is not full."""
    tiles, first = [], 0
    for size in reversed(sizes):
        while num_rows - first >= size:
            tiles.append((first, first + size))
            first += size
    if first < num_rows or not tiles:
        tiles.append((first, first + sizes[0]))
    return tuple(tiles)
