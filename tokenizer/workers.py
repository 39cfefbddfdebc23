"""CPU work shared out: several tasks side by side, each computed by one thread alone.

Threads inside every product wait for each other several thousand times a second; tasks side by side
never do. It also makes a clip's bits independent of how many threads there are. Where there are
too few tasks for the threads, one task may still use them all, if that gave the same bits when it
was tried.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Semaphore
from typing import TypeVar

import torch
from torch import Tensor

Task = TypeVar("Task")
Result = TypeVar("Result")


def side_by_side(work: Callable[[Task], Result], tasks: Sequence[Task]) -> list[Result]:
    """`work` of each task, in order, on as many threads as torch may use in the calling thread.

    Each task has one of them to itself, and no gradients. The first error, in order, is raised
    when no thread is at work any more; tasks not begun by then are not done.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        with torch.inference_mode():
            return [work(task) for task in tasks]
    return _on_threads(work, tasks, threads) if tasks else []


class Workers:
    """The same, but a few tasks may have all threads together where the bits allow it."""

    def __init__(self, probe: Callable[[], Tensor]) -> None:
        """`probe` does all kinds of work a task does, and gives the bits that came out."""
        self._probe = probe
        self._agree: dict[int, bool] = {}

    def map(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> list[Result]:
        """`work` of each task, in order, without gradients."""
        if len(tasks) * 2 <= torch.get_num_threads() and self.threads_agree():
            with torch.inference_mode():
                return [work(task) for task in tasks]
        return side_by_side(work, tasks)

    def threads_agree(self) -> bool:
        """Whether all threads together give the bits that one gives. Tried once per number."""
        threads = torch.get_num_threads()
        if threads not in self._agree:
            (alone,) = side_by_side(lambda probe: probe(), [self._probe])
            with torch.inference_mode():
                self._agree[threads] = torch.equal(alone, self._probe())
        return self._agree[threads]


def _on_threads(
    work: Callable[[Task], Result], tasks: Sequence[Task], threads: int
) -> list[Result]:
    count = min(threads, len(tasks))
    set_up, all_set_up = Semaphore(0), Event()

    def start() -> None:
        # A thread's first question takes over the process-wide default, which another caller may
        # change at any time. Asked now, it cannot undo the setting later.
        torch.get_num_threads()
        torch.set_num_threads(1)
        set_up.release()
        all_set_up.wait()

    def in_a_thread(task: Task) -> Result:
        with torch.inference_mode():  # which is off in a new thread
            return work(task)

    pool = ThreadPoolExecutor(count, initializer=start)
    try:
        try:
            futures = [pool.submit(in_a_thread, task) for task in tasks]
            for _ in range(count):
                set_up.acquire()
        finally:
            # The workers' setting also became the default of all threads that start later.
            torch.set_num_threads(threads)
            all_set_up.set()
        return [future.result() for future in futures]
    finally:
        pool.shutdown(cancel_futures=True)
