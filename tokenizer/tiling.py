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

SIZES = (32, 64, 128, 256)
"""Up to 256 rows of the widest layer stay in a core's cache; below 32 kernels slow down."""
APART = Tiling(sizes=(64,), align=64)
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
    """All sizes that agree with the largest; clips apart if even that one differs from itself."""
    agreeing = set(sizes)
    for probe in probes:
        wanted = probe(sizes[-1])[0]
        agreeing = {size for size in agreeing if bool((probe(size) == wanted).all())}
    if sizes[-1] not in agreeing:
        return APART
    return Tiling(sizes=tuple(sorted(agreeing)))
