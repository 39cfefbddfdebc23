"""From logits to ids: temperature, top-k and top-p for each row and channel, and their randomness.

Where the published sampler forbids ids after the filters, which may leave nothing to draw from,
they are forbidden before.
"""

# Shapes: B rows, V ids, N draws.

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from schemas.errors import ModelError


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How one id is drawn. Raises `ModelError` for values out of range."""

    temperature: float = 1.0
    """Logits are divided by it; 0 takes the most likely id."""
    top_k: int | None = None
    """Only so many of the most likely ids, and those that tie with the last."""
    top_p: float | None = None
    """Of these, only the most likely ones that hold this share of the mass; in (0, 1]."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ModelError(f"temperature is {self.temperature}, wanted 0 (greedy) or more")
        if self.top_k is not None and self.top_k < 1:
            raise ModelError(f"top_k is {self.top_k}, wanted 1 or more, or nothing")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ModelError(f"top_p is {self.top_p}, wanted above 0 and up to 1, or nothing")

    @property
    def greedy(self) -> bool:
        return self.temperature == 0


GREEDY = Sampling(temperature=0.0)


class Sampler:
    """Draws one id for each row, every row by settings of its own."""

    def __init__(self, rows: Sequence[Sampling], device: torch.device) -> None:
        """`rows` are B settings, or one for any number of rows."""
        drawn = [row for row in rows if not row.greedy]
        self._some_greedy, self._all_greedy = len(drawn) < len(rows), not drawn
        self._has_top_k = any(row.top_k is not None for row in drawn)
        self._has_top_p = any(row.top_p is not None for row in drawn)
        most = torch.iinfo(torch.int64).max

        def column(values: list[float], dtype: torch.dtype) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device).unsqueeze(1)

        self._greedy_B = torch.tensor([row.greedy for row in rows], device=device)
        self._temperature_B1 = column([row.temperature or 1.0 for row in rows], torch.float32)
        self._top_k_B1 = column([row.top_k or most for row in rows], torch.int64)
        # An empty top_p keeps all, even ids whose mass vanishes: nothing lies below -1.
        self._dropped_B1 = column(
            [-1.0 if row.top_p is None else 1.0 - row.top_p for row in rows], torch.float32
        )

    def __call__(self, logits_BV: Tensor, draws_B: Tensor) -> Tensor:
        """Ids `[B]`. `draws_B` are uniform in [0, 1); the same draw gives the same id.

        An id whose logit is -inf is never drawn.
        """
        if self._all_greedy:
            return logits_BV.argmax(dim=-1)
        kept_BV = self.filtered(logits_BV)
        # Ids in order, not by rank: noise in the logits then moves borders and swaps nothing.
        mass_BV = kept_BV.softmax(dim=-1).double().cumsum(dim=-1)
        wanted_B1 = draws_B.double().unsqueeze(1) * mass_BV[:, -1:]
        drawn_B = (mass_BV <= wanted_B1).sum(dim=-1).clamp(max=logits_BV.shape[-1] - 1)
        if not self._some_greedy:
            return drawn_B
        return torch.where(self._greedy_B, logits_BV.argmax(dim=-1), drawn_B)

    def filtered(self, logits_BV: Tensor) -> Tensor:
        """Logits over temperature in float32, -inf where top-k or top-p leave the id out.

        Top-k first, top-p over what it left; ids that tie with the last kept one stay. In greedy
        rows the result has no meaning.
        """
        logits_BV = logits_BV.float() / self._temperature_B1
        if not (self._has_top_k or self._has_top_p):
            return logits_BV
        sorted_BV = logits_BV.sort(dim=-1).values
        size = sorted_BV.shape[-1]
        least_B1 = sorted_BV[:, :1]
        if self._has_top_k:
            places_B1 = (size - self._top_k_B1).clamp(min=0).expand(len(logits_BV), 1)
            least_B1 = sorted_BV.gather(1, places_B1)
            sorted_BV = sorted_BV.masked_fill(sorted_BV < least_B1, float("-inf"))
        if self._has_top_p:
            mass_BV = sorted_BV.softmax(dim=-1).cumsum(dim=-1)
            first_B1 = (mass_BV <= self._dropped_B1).sum(dim=-1, keepdim=True).clamp(max=size - 1)
            least_B1 = torch.maximum(least_B1, sorted_BV.gather(1, first_B1))
        return logits_BV.masked_fill(logits_BV < least_B1, float("-inf"))


class Draws:
    """Uniform numbers of one request: the same for a seed and a place, whatever its company."""

    _BLOCK = 64

    def __init__(self, seed: int, per_group: int) -> None:
        if seed < 0:
            raise ModelError(f"seed is {seed}, wanted 0 or more")
        self._random = np.random.default_rng(seed)
        self._per_group = per_group
        self._block: npt.NDArray[np.float32] = np.zeros((0, per_group), np.float32)
        self._next = 0

    def next(self) -> npt.NDArray[np.float32]:
        """The numbers `[N]` of the next group, in [0, 1)."""
        if self._next == len(self._block):
            shape = (self._BLOCK, self._per_group)
            self._block, self._next = self._random.random(shape, dtype=np.float32), 0
        self._next += 1
        return self._block[self._next - 1]
