"""This process among those of a training run, and how a run is asked to stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor, distributed

STOP = "stop"
"""File in a run's output folder that asks the run to stop, where no signal can."""


def place() -> tuple[int, int]:
    """Rank, and number of processes."""
    if distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def mean_of_all(here: Tensor) -> float:
    """Over all processes, so that all of them judge alike."""
    if distributed.is_initialized():
        here = here.clone()
        distributed.all_reduce(here)
        here /= distributed.get_world_size()
    return float(here)


def anywhere(here: bool) -> bool:
    """Whether it is so in any process: all of them stop after the same step."""
    if not distributed.is_initialized():
        return here
    flag = torch.tensor(float(here))
    if distributed.get_backend() == "nccl":
        flag = flag.cuda()
    distributed.all_reduce(flag, op=distributed.ReduceOp.MAX)
    return bool(flag)


@contextmanager
def interrupts(file: Path | None = None) -> Iterator[threading.Event]:
    """Set by SIGINT and SIGTERM, so that a step is never cut in half.

    Only a process's main thread gets signals; in any other it is set while there is a `file`.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop if file is None else _File(file)
        return

    def ask(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _File(threading.Event):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def is_set(self) -> bool:
        return self._path.exists()
