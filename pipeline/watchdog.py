"""Ends the process of a worker when one call of a stage takes too long, whatever holds it.

The clock runs in a thread of C code that needs no interpreter, so a call that never lets go of it
is ended too. A process that is stopped as a whole is the driver's to find (`run.item_timeout_s`).
"""

import faulthandler
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.heartbeat import HeartbeatFile

MAX_SLACK_S = 1.0
"""A call is ended so much after its limit at most. The clock is wound up anew only when it would
otherwise ring too early, because winding it costs a thread."""
_TIMEOUT_SAYS = "Timeout ("
_SIGNAL_SAYS = "Fatal Python error: "


class Watchdog:
    """Watches the calls of one worker, and notes them in its heartbeat."""

    def __init__(self, limit_s: float, heartbeat: HeartbeatFile) -> None:
        self._limit_s = limit_s
        self._slack_s = min(MAX_SLACK_S, limit_s / 50)
        self._heartbeat = heartbeat
        self._wound_up = -float("inf")
        # A crash says there which signal it was, so that the driver can.
        faulthandler.enable(file=heartbeat.descriptor, all_threads=False)

    @contextmanager
    def unit(self, unit: str, inputs: int) -> Iterator[None]:
        """The worker holds that unit inside the block, and rests after it."""
        self._heartbeat.holds(unit, inputs)
        self.call("")
        try:
            yield
        finally:
            self._unwind()
            self._heartbeat.rest()

    def call(self, stage: str, *, opening: bool = False, limited: bool = True) -> None:
        """A call begins, and with it the one before has ended; without a limit if not `limited`."""
        self._heartbeat.call(stage, opening=opening)
        now = time.monotonic()
        if not limited:
            self._unwind()
        elif now - self._wound_up > self._slack_s:
            faulthandler.dump_traceback_later(
                self._limit_s + self._slack_s, exit=True, file=self._heartbeat.descriptor
            )
            self._wound_up = now

    def _unwind(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        self._wound_up = -float("inf")


def is_timeout(last_words: str) -> bool:
    """Whether the process was ended by its watchdog."""
    return _TIMEOUT_SAYS in last_words


def signal_said(last_words: str) -> str:
    """The signal that ended the process, in words; empty if it did not say."""
    _, found, rest = last_words.partition(_SIGNAL_SAYS)
    return rest.partition("\n")[0].strip() if found else ""
