"""Sums over the processes that train together."""

from torch import Tensor, distributed


def are_together() -> bool:
    """Whether other processes train along."""
    return distributed.is_available() and distributed.is_initialized()


def add_up(*here: Tensor) -> None:
    """Make each tensor its sum over all processes, in place; alone it stays."""
    if are_together():
        for tensor in here:
            distributed.all_reduce(tensor)
