"""The Ray actors of a job: started, lent out, recycled when they grow, replaced when they die."""

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.exceptions import ActorDiedError, NodeDiedError, OutOfMemoryError, RayActorError, RayError

from pipeline.events import event
from pipeline.fit import Kind, Pool
from pipeline.heartbeat import HeartbeatFile, last_words, path_of, read_heartbeat
from pipeline.lost_starts import LostStarts
from pipeline.quiet import QUIET_ENVIRONMENT
from pipeline.ray_errors import last_line, sentence
from pipeline.watchdog import Watchdog, is_timeout, signal_said
from pipeline.worker import WRITING, Worker
from schemas.errors import PlanError
from schemas.job import RunSpec

START_TIMEOUT_S = 180.0
GROWTH = 2.0
"""A worker that has this much more memory than after its first unit has grown."""
Handle = Any
"""A Ray actor handle; Ray's own types do not know of `num_returns`."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an actor tells the driver after every call."""

    result: Any
    """None where it stays with the workers."""
    memory_mb: float
    """Resident memory of the actor alone, without what it shares with others."""


class Actor(Worker):
    """A worker that answers twice: a small receipt for the driver, and the payload by reference."""

    def __init__(self, driver: str, name: str, *arguments: Any) -> None:
        os.environ.update(QUIET_ENVIRONMENT)  # a program's own Ray may have started without it
        super().__init__(*arguments)
        self._driver, self._name = driver, name
        self._watchdog: Watchdog | None = None

    def node(self) -> str:
        """Tells that the worker stands, and on which node."""
        return str(ray.get_runtime_context().get_node_id())

    def call(
        self, work: str, num_inputs: int, method: str, to_driver: bool, *arguments: Any
    ) -> tuple[Receipt, Any]:
        """Receipt with the result and nothing where the driver wants it, else the other way."""
        if self._watchdog is None:
            # Not before the first work: until then nothing in the output is touched.
            heartbeat = HeartbeatFile(self._out, self._driver, self._name)
            self._watchdog = Watchdog(self._job.spec.run.stage_timeout_s, heartbeat)
            self._begins = self._watchdog.call
        with self._watchdog.unit(work, num_inputs):
            result = getattr(self, method)(*arguments)
        memory = psutil.Process().memory_info()
        receipt = Receipt(
            result if to_driver else None, (memory.rss - getattr(memory, "shared", 0)) / 2**20
        )
        return receipt, None if to_driver else result


@dataclass(slots=True, eq=False)
class Seat:
    """A place in a pool, with the actor that holds it."""

    pool: Pool
    name: str
    handle: Handle
    since: float
    node: str = ""
    calls: int = 0
    first_mb: float = 0.0
    memory_mb: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How an actor ended."""

    error_class: str
    cause: str
    stage: str = ""
    """The stage whose call was under way, if any."""
    opening: bool = False
    """Whether that stage was being opened, and so nothing was done with the unit yet."""
    through_work: bool = True
    """False where it is known that a node, the network, the storage or an idle actor was it."""


class Crew:
    """Actors of all pools."""

    def __init__(
        self,
        pools: tuple[Pool, ...],
        run: RunSpec,
        driver: str,
        out: Path,
        arguments: tuple[Any, ...],
        runtime_env: Mapping[str, Any] | None,
        on_end: Callable[[str], None],
    ) -> None:
        """`on_end` hears of every actor that is `replaced` or `recycled`."""
        self._pools = {pool.kind: pool for pool in pools}
        self._run = run
        self._driver, self._out = driver, out
        self._arguments = arguments
        self._runtime_env = runtime_env
        self._on_end = on_end
        self._idle: dict[Kind, list[Seat]] = {pool.kind: [] for pool in pools}
        self._seats: list[Seat] = []
        self._raised_starts: Counter[Kind] = Counter()
        self._lost_starts = LostStarts()
        self._num_started = 0
        self._all_were_up = False
        self.starting: dict[Any, Seat] = {}
        """Reference that is ready when the actor is up, to its seat."""

    def start(self) -> None:
        """Returns when every actor is up; raises `PlanError` with the cause if one never is."""
        for pool in self._pools.values():
            for _ in range(pool.size):
                self._start(pool)
        while self.starting or self._lost_starts.waits():
            up, _ = ray.wait([*self.starting], timeout=0.5)
            for reference in up:
                self.has_started(reference)
            self.check_starts()
        self._all_were_up = True

    def take(self, kind: Kind) -> Seat | None:
        """An idle actor; None if there is none now. One that has grown is recycled first."""
        while self._idle[kind]:
            seat = self._idle[kind].pop()
            reason = self._reason_to_recycle(seat)
            # One at a time, so that the others of its pool go on.
            starts = any(s.pool.kind == kind for s in self.starting.values())
            if not reason or starts or self._lost_starts.waits(kind):
                return seat
            self._on_end("recycled")
            event("worker_recycled", worker=seat.name, reason=reason, memory_mb=seat.memory_mb)
            self._end(seat)
            self._start(seat.pool)
        return None

    def give_back(self, seat: Seat, receipt: Receipt) -> None:
        """The actor has done its work."""
        seat.calls += 1
        seat.memory_mb = receipt.memory_mb
        seat.first_mb = seat.first_mb or receipt.memory_mb
        self._idle[seat.pool.kind].append(seat)

    def bury(self, seat: Seat, work: str, error: RayError | None) -> Ending:
        """Ends an actor that died with that work, or hung (`error` None), and starts another."""
        path = path_of(self._out, self._driver, seat.name)
        ending = self._ending(seat, work, error, path)
        self._on_end("replaced")
        event(
            "worker_replaced",
            worker=seat.name,
            unit=work,
            stage=ending.stage,
            error_class=ending.error_class,
        )
        self._end(seat)
        self._start(seat.pool)
        return ending

    def has_started(self, reference: Any) -> None:
        """Its actor is up, or failed to be: then another one is tried, a few times.

        A start that raised is tried again at once, one that something ended after a wait.
        """
        seat = self.starting.pop(reference)
        kind = seat.pool.kind
        try:
            seat.node = ray.get(reference)
        except RayError as error:
            self._end(seat)
            raised = isinstance(error, RayActorError) and error.actor_init_failed
            if not raised and isinstance(error, RayActorError | NodeDiedError | OutOfMemoryError):
                cause, others = sentence(error), self._others_work(kind)
                wait_s = self._lost_starts.lost(seat.pool, seat.since, cause, others)
                event("worker_start_lost", worker=seat.name, wait_s=wait_s, cause=cause)
                return
            self._raised_starts[kind] += 1
            if self._raised_starts[kind] >= self._run.max_attempts:
                cause = last_line(error)
                raise PlanError(f"a {kind} worker cannot be started: {cause}") from error
            self._start(seat.pool)
            return
        self._raised_starts[kind] = 0
        self._lost_starts.has_come_up(kind)
        self._idle[kind].append(seat)

    def check_starts(self) -> None:
        """Starts what is due; `PlanError` where a pool waits too long for its only actors."""
        for pool in self._lost_starts.due():
            self._start(pool)
        if self._lost_starts.waits() and len(self._seats) == sum(map(len, self._idle.values())):
            time.sleep(0.1)  # there is nothing else that its caller could wait for
        for kind in self._pools:
            of_kind = [seat for seat in self._seats if seat.pool.kind == kind]
            waiting = [seat for seat in self.starting.values() if seat.pool.kind == kind]
            longest_s = max((time.monotonic() - seat.since for seat in waiting), default=0.0)
            if longest_s > START_TIMEOUT_S and not self._others_work(kind):
                raise PlanError(
                    f"{len(waiting)} of {len(of_kind)} {kind} workers did not start within "
                    f"{START_TIMEOUT_S:g} s; is something else holding the cluster's CPUs or GPUs? "
                    "('ray status' shows it)"
                )

    def end(self) -> None:
        """Ends all actors."""
        for seat in list(self._seats):
            self._end(seat)

    def _start(self, pool: Pool) -> None:
        self._num_started += 1
        name = f"{pool.kind}-{self._num_started}"
        # Restarts are ours to decide, per unit of work: Ray would retry a poison file for ever.
        actor_class = ray.remote(Actor).options(
            max_restarts=0,
            max_task_retries=0,
            num_cpus=pool.num_cpus,
            num_gpus=pool.num_gpus,
            runtime_env=self._runtime_env,
        )
        handle: Handle = actor_class.remote(self._driver, name, *self._arguments)
        seat = Seat(pool, name, handle, time.monotonic())
        self._seats.append(seat)
        # It gets work once it is up, so that its start does not count as the work's time.
        self.starting[handle.node.remote()] = seat

    def _others_work(self, kind: Kind) -> bool:
        """Whether the job is under way and an actor of that pool is up."""
        up = set(self._seats) - set(self.starting.values())
        return self._all_were_up and any(seat.pool.kind == kind for seat in up)

    def _end(self, seat: Seat) -> None:
        ray.kill(seat.handle, no_restart=True)
        self._seats.remove(seat)
        with suppress(OSError):  # an output that cannot be written has its own error
            path_of(self._out, self._driver, seat.name).unlink()

    def _reason_to_recycle(self, seat: Seat) -> str:
        if self._run.worker_max_units and seat.calls >= self._run.worker_max_units:
            return "units"
        limit_mb = self._run.worker_max_rss_mb or max(seat.pool.memory_mb, GROWTH * seat.first_mb)
        return "memory" if seat.memory_mb > limit_mb else ""

    def _ending(self, seat: Seat, work: str, error: RayError | None, path: Path) -> Ending:
        note, said = read_heartbeat(path), last_words(path)
        held = note is not None and note.unit == work
        stage, opening = (note.stage, note.opening) if note and held else ("", False)
        if error is None:
            limit_s = self._run.item_timeout_s
            cause = f"no answer within {limit_s:g} s (run.item_timeout_s)"
            through_work = held and stage != WRITING  # or it was the storage that hung
            return Ending(
                error_class="TIMEOUT",
                cause=cause,
                stage=stage,
                opening=opening,
                through_work=through_work,
            )
        if isinstance(error, OutOfMemoryError):
            cause = "Ray ended it because the memory of its node ran out"
            return Ending(error_class="OOM_ITEM", cause=cause, stage=stage, opening=opening)
        if not isinstance(error, ActorDiedError) or error.preempted or _is_gone(seat.node):
            cause = f"its node or the way to it was lost: {sentence(error)}"
            return Ending(error_class="CRASH", cause=cause, through_work=False)
        if is_timeout(said):
            limit_s = self._run.stage_timeout_s
            cause = f"one call of stage {stage!r} took longer than {limit_s:g} s"
            cause += " (run.stage_timeout_s)"
            return Ending(error_class="TIMEOUT", cause=cause, stage=stage, opening=opening)
        cause = signal_said(said) or "its process was killed, or ended without a word"
        return Ending(
            error_class="CRASH", cause=cause, stage=stage, opening=opening, through_work=held
        )


def _is_gone(node: str) -> bool:
    return any(found["NodeID"] == node and not found["Alive"] for found in ray.nodes())
