"""What every worker is doing, in a small file each that anybody can read, with no Ray.

`OUT/workers/DRIVER-NAME.json` begins with one JSON object of fixed length, which the worker
overwrites in place before every call of a stage: one system call of some microseconds and no
thread, so that it is exact even when the call never comes back. What the process said when it died
stands behind it. Ids and figures only, never a URI or a word of a transcript.
"""

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.attempts import is_alive
from schemas.errors import StorageError

FOLDER = "workers"
_NOTE_BYTES = 1024
_STAGE_CHARACTERS = 100
STUCK_AFTER_S = 600.0
"""A call longer than this is shown as stuck: minutes of work are a unit, not a call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """What a worker wrote last."""

    driver: str
    worker: str
    host: str
    pid: int
    started: int
    """When the process started, in clock ticks since its machine did; pids are used again."""
    unit: str
    """The unit it holds; empty while it waits for one."""
    inputs: int
    """Inputs in that unit."""
    stage: str
    """The stage whose call is under way, `fetch`, `write`, or empty."""
    opening: bool
    """Whether the stage is being opened (its model loaded) and not yet at work."""
    since: float
    """When that call began, in seconds since 1970 by the worker's clock; for people only."""

    def seconds(self) -> float:
        """How long it has been at what it does."""
        return max(0.0, time.time() - self.since)

    def is_stuck(self) -> bool:
        """Whether one call has been under way for longer than `STUCK_AFTER_S`."""
        return bool(self.stage) and self.seconds() > STUCK_AFTER_S

    def is_gone(self, out: Path) -> bool:
        """Whether its process is; on another machine, whether its driver is."""
        if self.host == socket.gethostname():
            return _start_ticks(self.pid) != self.started
        return not is_alive(out, self.driver)


class HeartbeatFile:
    """The file of one worker, seen from inside it."""

    def __init__(self, out: Path, driver: str, worker: str) -> None:
        path = path_of(out, driver, worker)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Written through the descriptor alone: a file that is removed stays harmless.
            self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
            os.truncate(self.descriptor, _NOTE_BYTES)
            os.lseek(self.descriptor, _NOTE_BYTES, os.SEEK_SET)
        except OSError as error:
            raise StorageError(
                f"{path}: cannot be written ({error.strerror or error}); the worker's place to say "
                "what it does is part of the output: make room or mend its rights, then run again"
            ) from error
        self._driver, self._worker = driver, worker
        self._pid = os.getpid()
        self._host = socket.gethostname()
        self._started = _start_ticks(self._pid)
        self._unit, self._inputs = "", 0
        self.rest()

    def holds(self, unit: str, inputs: int) -> None:
        """From now on the calls are for that unit."""
        self._unit, self._inputs = unit, inputs

    def call(self, stage: str, *, opening: bool = False) -> None:
        """A call of that stage begins."""
        note = json.dumps(
            {
                "driver": self._driver,
                "worker": self._worker,
                "host": self._host,
                "pid": self._pid,
                "started": self._started,
                "unit": self._unit,
                "inputs": self._inputs,
                "stage": stage[:_STAGE_CHARACTERS],
                "opening": opening,
                "since": time.time(),
            }
        ).encode()
        # A note that cannot be written harms no work.
        with suppress(OSError):
            os.pwrite(self.descriptor, note[: _NOTE_BYTES - 1].ljust(_NOTE_BYTES - 1) + b"\n", 0)

    def rest(self) -> None:
        """The unit is done; the worker waits."""
        self.holds("", 0)
        self.call("")


def path_of(out: Path, driver: str, worker: str) -> Path:
    """Where a worker's heartbeat lies."""
    return out / FOLDER / f"{driver}-{worker}.json"


def read_heartbeat(path: Path) -> Heartbeat | None:
    """What a worker wrote last; None if there is nothing, or nothing that can be read."""
    try:
        with path.open("rb") as file:
            return Heartbeat(**json.loads(file.read(_NOTE_BYTES)))
    except (OSError, ValueError, TypeError):
        return None


def last_words(path: Path) -> str:
    """What the process wrote when a watchdog or a fatal signal ended it; empty if nothing."""
    try:
        with path.open("rb") as file:
            file.seek(_NOTE_BYTES)
            return file.read(20_000).decode(errors="replace")
    except OSError:
        return ""


def read_heartbeats(out: Path) -> list[Heartbeat]:
    """Of every worker that has one, in order of name."""
    folder = out / FOLDER
    paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
    return [beat for path in paths if (beat := read_heartbeat(path))]


def clear_heartbeats(out: Path, driver: str) -> None:
    """Removes what the workers of a driver left that was killed."""
    for path in (out / FOLDER).glob(f"{driver}-*.json"):
        path.unlink(missing_ok=True)


def _start_ticks(pid: int) -> int:
    """Start of a process in clock ticks since boot; 0 if there is none or the system is silent."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[19])
