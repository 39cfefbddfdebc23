"""Which tile sizes keep a row's bits its own on this machine.

Matrix kernels pick their blocking by the number of rows, so the last bits of a row's result can
depend on how many rows stand beside it or where among them it stands. This is settled by trying,
once per process and thread count, with every kind of row-wise work a part does: copies of one row
must come out equal in every place of every tile size in use.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tokenizer.packing import Tiling

SIZES = (48, 96, 192)
"""Multiples of 48, which the register tiles of AVX2 and AVX-512 kernels divide: with powers of two
the last rows of a tile came out differently on AVX2. 192 rows of the widest layer stay in cache."""
APART = Tiling(sizes=(48,), align=48)
"""Where places matter: every clip starts a tile, so a product holds one clip's rows and zeros."""

Probe = Callable[[int], Tensor]


class TilingChoice:
    """The tiling of one part on a CPU, found at first use and again when the threads change."""

    def __init__(self, probes: Callable[[], Sequence[Probe]]) -> None:
        self._probes = probes
        self._found: dict[int, Tiling] = {}

    def __call__(self) -> Tiling:
        threads = torch.get_num_threads()
        if threads not in self._found:
            self._found[threads] = find_tiling(self._probes())
        return self._found[threads]


def find_tiling(probes: Sequence[Probe], sizes: tuple[int, ...] = SIZES) -> Tiling:
    """Sizes among which a row's place and company do not show; clips apart if there are none."""
    for largest in range(len(sizes), 0, -1):
        agreeing = set(sizes[:largest])
        for probe in probes:
            wanted = probe(sizes[largest - 1])[0]
            agreeing = {size for size in agreeing if bool((probe(size) == wanted).all())}
        if sizes[largest - 1] in agreeing:
            return Tiling(sizes=tuple(sorted(agreeing)))
    return APART
