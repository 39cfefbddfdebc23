"""Row groups read by threads, before they are needed where that is known."""

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

from model.loader.shard import GroupRows


class ReadAhead:
    """The `capacity` row groups used last, and those announced. Fit for several threads.

    With no threads a row group is read when it is asked for.
    """

    def __init__(self, read: Callable[[int], GroupRows], capacity: int, num_threads: int) -> None:
        self._read, self._capacity, self._num_threads = read, capacity, num_threads
        self._lock = Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._futures: OrderedDict[int, Future[GroupRows]] = OrderedDict()
        self._process = -1

    def announce(self, groups: Iterable[int]) -> None:
        """Begins to read what is not at hand."""
        if self._num_threads:
            for group in groups:
                self._future(group)

    def get(self, group: int) -> GroupRows:
        """The row group; raises what reading it raised, and tries again when asked again."""
        try:
            return self._future(group).result()
        except Exception:
            with self._lock:
                self._futures.pop(group, None)
            raise

    def close(self) -> None:
        """Ends the threads, after what they are at. Asking again starts others."""
        with self._lock:
            pool, self._pool = self._pool, None
            self._futures.clear()
            self._process = -1
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    def _future(self, group: int) -> Future[GroupRows]:
        with self._lock:
            if self._process != os.getpid():
                self._start()  # a fork has its parent's futures and none of its threads
            if group in self._futures:
                self._futures.move_to_end(group)
                return self._futures[group]
            while len(self._futures) >= self._capacity:
                self._futures.popitem(last=False)[1].cancel()
            if self._pool is not None:
                future = self._pool.submit(self._read, group)
                self._futures[group] = future
                return future
        read_here: Future[GroupRows] = Future()
        read_here.set_result(self._read(group))
        with self._lock:
            self._futures[group] = read_here
        return read_here

    def _start(self) -> None:
        self._process = os.getpid()
        self._futures = OrderedDict()
        if self._num_threads:
            self._pool = ThreadPoolExecutor(self._num_threads, thread_name_prefix="loader-read")
