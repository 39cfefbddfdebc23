"""The ledger of attempts: what was under way, and whom it took down. It survives the driver.

`OUT/attempts/DRIVER.jsonl` says before a unit starts that it starts, on the disk for good, and
afterwards how it ended. A driver holds a lock on its ledger as long as it lives; the next one takes
over those of the dead. The rules, for `k = run.max_attempts`:

1. A worker that dies or hangs while it holds a unit is a strike against that unit. After `k`
   strikes the unit is given up.
2. A driver that ends, however it ends, while its machine lives on is nobody's strike: drivers are
   killed for reasons of their own, and any number of kills blames no unit.
3. A machine that goes down (it was started anew since, or it is another machine now) is nobody's
   strike either: machines are taken away. But what was under way on it at `k` such ends is a
   suspect. Suspects come last, one at a time, with nothing beside them. A unit that was under way
   and alone at `k` such ends is given up.
4. A worker that Ray ended for want of memory makes its unit a suspect at once, and is a strike only
   if it was alone: else its neighbours may have eaten the memory.

So a unit that takes down its machine every time ends after at most `2 k` of them, and every other
unit is done before its second half. An innocent one would have to be under way at `2 k` losses of
a machine, at `k` of them alone. Where the system does not tell one start of a machine from the
next, no end of a driver counts. Strikes are forgotten when the spec's `run` section changes, since
limits are in it, and when the job is stopped because the failures are ours.
"""

import errno
import fcntl
import json
import logging
import os
import platform
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from pipeline.files import sync
from schemas.errors import StorageError

FOLDER = "attempts"


@dataclass(slots=True)
class Attempts:
    """What is known against one unit."""

    strikes: int = 0
    """Workers that died or hung with it."""
    losses: int = 0
    """Machines that went down with it."""
    losses_alone: int = 0
    """Those of them on which nothing else was under way."""
    short_of_memory: bool = False
    error_class: str = ""
    cause: str = ""
    stage: str = ""

    def add(self, more: "Attempts") -> None:
        """Counts what another driver knows as well."""
        self.strikes += more.strikes
        self.losses += more.losses
        self.losses_alone += more.losses_alone
        self.short_of_memory |= more.short_of_memory
        self.error_class, self.cause, self.stage = more.error_class, more.cause, more.stage

    def is_suspect(self, max_attempts: int) -> bool:
        """Whether it may only be tried alone."""
        return self.short_of_memory or self.losses >= max_attempts

    def is_given_up(self, max_attempts: int) -> bool:
        return self.strikes >= max_attempts or self.losses_alone >= max_attempts


def this_machine_since_its_start() -> str:
    """Names this machine and its last start; empty where the system does not say.

    The machine of a container is the container: its first process starts when it does.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        first = Path("/proc/1/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
    return f"{platform.node()} {boot} {first}"


@dataclass
class Ledger:
    """The ledger of one driver."""

    out: Path
    driver: str
    settings: str
    """Digest of what the strikes depend on; under another one they are forgotten."""
    machine: str = field(default_factory=this_machine_since_its_start)
    _known: dict[str, Attempts] = field(default_factory=dict)
    _alone: dict[str, bool] = field(default_factory=dict)
    """Units under way, and whether alone."""
    _descriptor: int = -1

    @property
    def path(self) -> Path:
        return self.out / FOLDER / f"{self.driver}.jsonl"

    def open(self) -> list[str]:
        """Takes over what dead drivers left, and begins this one's ledger; returns their names."""
        part = self.path.with_suffix(".part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with ExitStack() as held:
                dead = self._take_over(held)
                self._descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
                with suppress(OSError):  # a store without locks: one driver at a time
                    fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                known = [{"known": unit, **asdict(found)} for unit, found in self._known.items()]
                begun = {"begun": self.machine, "settings": self.settings, "took_over": dead}
                self._append([begun, *known])
                # Named only when it is whole, and they go only then: no moment without strikes.
                part.replace(self.path)
                sync(self.path.parent)
                for driver in dead:
                    self.path.with_stem(driver).unlink(missing_ok=True)
        except OSError as error:
            raise self._storage_error(error) from error
        return dead

    def close(self) -> None:
        """The driver ends in good order: what was under way is held against nobody."""
        if self._descriptor >= 0:
            try:
                self._note({"closed": True})
            finally:
                os.close(self._descriptor)
                self._descriptor = -1

    def of(self, unit: str) -> Attempts:
        """What is known against a unit."""
        return self._known.get(unit) or Attempts()

    def starts(self, units: Mapping[str, bool]) -> None:
        """Call it before they start, with whether each is alone; then the disk holds it."""
        self._note(*({"starts": unit, "alone": alone} for unit, alone in units.items()))

    def ended(self, unit: str) -> None:
        """It came back. Not synced: if that is lost, the unit was only suspected for nothing."""
        self._note({"ended": unit}, sync=False)

    def came_back(self, unit: str) -> None:
        """It will be tried again, and what happened says nothing about it."""
        self._note({"back": unit}, sync=False)

    def strike(self, unit: str, error_class: str, cause: str, stage: str) -> None:
        """Its worker died or hung with it."""
        self._note({"strike": unit, "class": error_class, "cause": cause, "stage": stage})

    def lost(self, unit: str, cause: str) -> None:
        """The machine of its worker went down with it, and the driver's did not."""
        self._note({"lost": unit, "cause": cause})

    def forgive(self) -> None:
        """Forgets all that is known: it was not the units' doing."""
        self._note({"forgiven": True})

    def _note(self, *lines: dict[str, Any], sync: bool = True) -> None:
        for line in lines:
            self._take(line)
        if lines:
            try:
                self._append(list(lines), sync=sync)
            except OSError as error:
                raise self._storage_error(error) from error

    def _append(self, lines: list[dict[str, Any]], *, sync: bool = True) -> None:
        data = "".join(json.dumps(line) + "\n" for line in lines).encode()
        if os.write(self._descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if sync:
            os.fsync(self._descriptor)

    def _storage_error(self, error: OSError) -> StorageError:
        return StorageError(
            f"{self.path}: cannot be written ({error.strerror or error}), and nothing is tried "
            "that is not written down first; make room or mend the disk, then run the same command "
            "again"
        )

    def _take_over(self, held: ExitStack) -> list[str]:
        """Reads and weighs the ledgers of dead drivers; they stay locked while `held` is open."""
        entries: dict[str, list[dict[str, Any]]] = {}
        for path in sorted(self.path.parent.glob("*.jsonl")):
            try:
                file = held.enter_context(path.open("rb"))
            except FileNotFoundError:
                continue  # another driver took it over
            if not _is_locked(file, fcntl.LOCK_EX):
                entries[path.stem] = _entries(path, file.read())
        # A driver that was killed before it removed what it took over has it all the same.
        had = {name for lines in entries.values() for name in lines[0]["took_over"]}
        for driver, (begun, *lines) in entries.items():
            if driver in had:
                continue
            # One ledger after another: each has units under way and a machine of its own.
            past = Ledger(self.out, driver, begun["settings"], begun["begun"])
            for line in lines:
                with suppress(TypeError):  # damaged, though it is JSON
                    past._take(line)
            if past.machine and self.machine and past.machine != self.machine:
                for unit in list(past._alone):
                    past._take({"lost": unit, "cause": "its machine went down"})
            for unit, known in past._known.items():
                if past.settings != self.settings:
                    known.strikes, known.short_of_memory = 0, False
                if known.strikes or known.losses or known.short_of_memory:
                    self._known.setdefault(unit, Attempts()).add(known)
        return list(entries)

    def _take(self, line: dict[str, Any]) -> None:
        match line:
            case {"known": unit, **rest}:
                self._known[unit] = Attempts(**rest)
            case {"starts": unit, "alone": alone}:
                self._alone[unit] = alone
            case {"ended": unit}:
                self._alone.pop(unit, None)
                self._known.pop(unit, None)
            case {"strike": unit, "class": error_class, "cause": cause, "stage": stage}:
                known = self._known.setdefault(unit, Attempts())
                known.error_class, known.cause, known.stage = error_class, cause, stage
                alone = self._alone.pop(unit, False)
                known.short_of_memory |= error_class == "OOM_ITEM"
                known.strikes += alone or error_class != "OOM_ITEM"
            case {"back": unit}:
                self._alone.pop(unit, None)
            case {"lost": unit, "cause": cause}:
                known = self._known.setdefault(unit, Attempts())
                known.error_class, known.cause, known.stage = "CRASH", cause, ""
                known.losses += 1
                known.losses_alone += self._alone.pop(unit, False)
            case {"forgiven": _}:
                self._known.clear()
            case {"closed": _}:
                self._alone.clear()


def is_alive(out: Path, driver: str) -> bool:
    """Whether that driver is at work, on whatever machine. False too where the disk has no locks.

    `out` is the job's output folder.
    """
    try:
        with (out / FOLDER / f"{driver}.jsonl").open("rb") as file:
            return _is_locked(file, fcntl.LOCK_SH)
    except OSError:
        return False


def _is_locked(file: IO[bytes], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _entries(path: Path, data: bytes) -> list[dict[str, Any]]:
    """The lines of a ledger, the first of them the one it began with."""
    entries: list[dict[str, Any]] = []
    for line in data.decode(errors="replace").splitlines():
        try:
            entry = json.loads(line)
            if not isinstance(entry, dict):
                raise ValueError(line)
            entries.append(entry)
        except ValueError:
            # The last line of a driver that was killed: what it says had not begun yet.
            logging.getLogger(__name__).warning("%s: a torn line is left out", path)
    if not entries or "took_over" not in entries[0]:
        return [{"begun": "", "settings": "", "took_over": []}]
    return entries
