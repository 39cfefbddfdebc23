"""An end to what hangs: after its time its processes are killed, and who waits for them is told."""

import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import psutil

GRACE_S = 600.0
"""After a family's deadline: what its last fault, and the job that it disturbed, may take."""
EVERY_S = 1.0
_SIGNAL = signal.SIGUSR1


class HangError(BaseException):
    """A family did not end. Not an `Exception`: what is tried would take it for its own."""


def processes_below() -> frozenset[psutil.Process]:
    """All processes that this one has started, and those started by them."""
    return frozenset(psutil.Process().children(recursive=True))


@contextmanager
def bounded(limit_s: float, spared: Collection[psutil.Process] = ()) -> Iterator[None]:
    """Raises `HangError` in the block once it has lasted `limit_s`, wherever it waits.

    From then on all processes below this one are killed, but for those `spared`, again and again
    until the block is left: an end that waits for a process which hangs would itself hang. Of the
    main thread only. A call into C code that never returns is not ended.
    """
    is_over = threading.Event()
    ender = threading.Thread(target=_end, args=(limit_s, frozenset(spared), is_over), daemon=True)
    before = signal.signal(_SIGNAL, _raising(limit_s, is_over))
    ender.start()
    try:
        yield
    finally:
        is_over.set()
        ender.join()
        signal.signal(_SIGNAL, before)


def _raising(limit_s: float, is_over: threading.Event) -> Callable[[int, FrameType | None], None]:
    def told(_: int, __: FrameType | None) -> None:
        if not is_over.is_set():
            raise HangError(f"it hung: not over after {limit_s:.0f} s, and its processes killed")

    return told


def _end(limit_s: float, spared: frozenset[psutil.Process], is_over: threading.Event) -> None:
    if is_over.wait(limit_s):
        return
    # Told before they are killed, so that the first error is this one and names the wait.
    signal.pthread_kill(threading.main_thread().ident or 0, _SIGNAL)
    while not is_over.wait(EVERY_S):
        for process in processes_below() - spared:
            with suppress(psutil.NoSuchProcess):
                process.kill()
