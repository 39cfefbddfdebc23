"""Keys and values of positions already seen, in memory that never grows or moves."""

# Shapes: B rows, H key-value heads, S positions kept, T new positions, E head width.

from collections.abc import Sequence

import torch
from torch import Tensor

from model.spec import TransformerSpec
from schemas.errors import ModelError

_EXTENT_STEP = 64
"""Attention reads positions up to a multiple of this, so its shapes change seldom."""


class KVCache:
    """Room for `capacity` positions of each of B rows; every row has a length of its own.

    Row b's positions lie at 0..lengths[b]-1. What lies behind is padding or zeros; no query sees
    it, because a query at position p looks at 0..p only. So rows of unequal prompts are padded on
    the right, and the padding is overwritten by what comes next.
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
        self._rows_B1 = torch.arange(batch_size, device=device).unsqueeze(1)

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

    def positions(self, count: int) -> Tensor:
        """Where the next `count` positions of each row go, `[B, T]`. Raises if they do not fit."""
        if self.longest + count > self.capacity:
            raise ModelError(
                f"a cache of {self.capacity} positions holds {self.longest}, {count} more do not "
                "fit; make one of a larger capacity"
            )
        return self.lengths_B.unsqueeze(1) + torch.arange(count, device=self.lengths_B.device)

    def extent(self, count: int) -> int:
        """How many positions attention has to read once `count` more are written."""
        wanted = self.longest + count
        return min(self.capacity, -(-wanted // _EXTENT_STEP) * _EXTENT_STEP)

    def write(
        self, layer: int, k_BTHE: Tensor, v_BTHE: Tensor, positions_BT: Tensor, extent: int
    ) -> tuple[Tensor, Tensor]:
        """Store new keys and values; the layer's first `extent` positions `[B, H, S, E]`."""
        keys, values = self._keys[layer], self._values[layer]
        keys[self._rows_B1, :, positions_BT] = k_BTHE
        values[self._rows_B1, :, positions_BT] = v_BTHE
        return keys[:, :, :extent], values[:, :, :extent]

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
        self.lengths_B, self._rows_B1 = self.lengths_B[:last], self._rows_B1[:last]
        self._host_lengths.pop()

    def clear(self) -> None:
        """Forget all positions and keep the memory."""
        self._host_lengths = [0] * self.batch_size
        self.lengths_B.zero_()
