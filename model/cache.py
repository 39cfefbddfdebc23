"""Keys and values of positions already seen, in memory that never grows or moves."""

# Shapes: B rows, H key-value heads, S positions kept, T new positions of a row, N of all rows,
# E head width.

from collections.abc import Sequence

import torch
from torch import Tensor

from model.documents import Documents
from model.spec import TransformerSpec
from schemas.errors import ModelError

_EXTENT_STEP = 64
"""Attention reads positions up to a multiple of this, so its shapes change seldom."""


class KVCache:
    """Room for `capacity` positions of each of B rows; every row has a length of its own.

    Row b's positions lie at 0..lengths[b]-1. What lies behind is zeros or left over; no query sees
    it, because a query at position p looks at 0..p only.
    """

    def __init__(
        self,
        spec: TransformerSpec,
        *,
        batch_size: int,
        capacity: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.capacity = capacity
        shape = (spec.num_layers, batch_size, spec.num_kv_heads, capacity, spec.head_width)
        # Zeros: a hidden position weighs nothing, but nothing times NaN would be NaN.
        self._keys = torch.zeros(shape, device=device, dtype=dtype)
        self._values = torch.zeros(shape, device=device, dtype=dtype)
        self.lengths_B = torch.zeros(batch_size, device=device, dtype=torch.int64)
        self._host_lengths = [0] * batch_size
        self._rows_B = torch.arange(batch_size, device=device)

    @property
    def batch_size(self) -> int:
        return len(self._host_lengths)

    @property
    def lengths(self) -> list[int]:
        """Positions of each row, known without asking the device."""
        return list(self._host_lengths)

    @property
    def longest(self) -> int:
        return max(self._host_lengths, default=0)

    @property
    def common(self) -> int | None:
        """Positions of each row, where all have as many."""
        return self._host_lengths[0] if len(set(self._host_lengths)) == 1 else None

    @property
    def extent(self) -> int:
        """How many positions attention has to read once each row has one more."""
        return min(self.capacity, -(-(self.longest + 1) // _EXTENT_STEP) * _EXTENT_STEP)

    def make_room(self, counts: Sequence[int]) -> None:
        """Raises `ModelError` unless each row can grow by that many positions."""
        if len(counts) != self.batch_size:
            raise ModelError(
                f"{len(counts)} rows for a cache of {self.batch_size}; make one of as many rows"
            )
        for held, count in zip(self._host_lengths, counts, strict=True):
            if held + count > self.capacity:
                raise ModelError(
                    f"a cache of {self.capacity} positions holds {held}, {count} more do not fit; "
                    "make one of a larger capacity"
                )

    def write(
        self, layer: int, k_BHE: Tensor, v_BHE: Tensor, positions_B: Tensor | None, extent: int
    ) -> tuple[Tensor, Tensor]:
        """Store one more position of each row; the layer's first `extent` ones `[B, H, S, E]`.

        `positions_B` None: all rows have as many.
        """
        keys, values = self._keys[layer], self._values[layer]
        if positions_B is None:
            keys[:, :, extent - 1], values[:, :, extent - 1] = k_BHE, v_BHE
        else:
            keys[self._rows_B, :, positions_B] = k_BHE
            values[self._rows_B, :, positions_B] = v_BHE
        return keys[:, :, :extent], values[:, :, :extent]

    def write_documents(
        self, layer: int, k_NHE: Tensor, v_NHE: Tensor, documents: Documents
    ) -> list[tuple[Tensor, Tensor]]:
        """Store what each row goes on with; keys and values of each row so far, `[H, S, E]`."""
        seen = []
        parts = zip(k_NHE.split(documents.lengths), v_NHE.split(documents.lengths), strict=True)
        for row, (k_THE, v_THE) in enumerate(parts):
            first = self._host_lengths[row]
            last = first + k_THE.shape[0]
            keys, values = self._keys[layer, row], self._values[layer, row]
            keys[:, first:last] = k_THE.transpose(0, 1)
            values[:, first:last] = v_THE.transpose(0, 1)
            seen.append((keys[:, :last], values[:, :last]))
        return seen

    def advance(self, counts: Sequence[int]) -> None:
        """Each row has grown by that many positions."""
        self._host_lengths = [
            old + new for old, new in zip(self._host_lengths, counts, strict=True)
        ]
        if len(set(counts)) == 1:
            self.lengths_B += counts[0]
        else:
            self.lengths_B += torch.tensor(counts, device=self.lengths_B.device)

    def drop(self, row: int) -> None:
        """A row is done: the last row takes its place, and the batch is one smaller."""
        last = self.batch_size - 1
        length = self._host_lengths[last]
        if row != last:
            for kept in (self._keys, self._values):
                kept[:, row, :, :length] = kept[:, last, :, :length]
            self.lengths_B[row] = self.lengths_B[last]
            self._host_lengths[row] = length
        self._keys, self._values = self._keys[:, :last], self._values[:, :last]
        self.lengths_B, self._rows_B = self.lengths_B[:last], self._rows_B[:last]
        self._host_lengths.pop()

    def clear(self) -> None:
        """Forget all positions and keep the memory."""
        self._host_lengths = [0] * self.batch_size
        self.lengths_B.zero_()
