"""Streams work through pools of Ray actors. With `private_ray.py` the only file that knows Ray.

Work goes through its steps from actor to actor by reference, so the driver never holds a waveform.
Later steps go first and new work is taken on only while little is under way, so memory stays
bounded however long the input is. A worker that dies or hangs is replaced; what it held is tried
again up to a limit and then handed back to the caller as poison.
"""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from pipeline.assemble import Job
from pipeline.fit import Cluster, Kind, Pool, fit, needs_of, this_machine
from pipeline.private_ray import check_guarded, private
from pipeline.quiet import ONE_THREAD, QUIET_ENVIRONMENT, WORKER_ENVIRONMENT
from pipeline.worker import OpenTokenizer, Worker
from schemas.errors import AudiomillError, PlanError

START_TIMEOUT_S = 180.0
IN_FLIGHT_PER_ACTOR = 2
"""Work begun but not finished, per actor of the first step; bounds what waits between stations."""


@dataclass(frozen=True, slots=True)
class Step:
    """A method of `Worker` run in an actor of that kind, on the last step's result and `extra`."""

    kind: Kind
    method: str
    extra: tuple[Any, ...] = ()


@dataclass(slots=True)
class Work:
    """One thing that goes through steps. `key` is the caller's."""

    key: Any
    first: tuple[Any, ...]
    """Arguments of the first step; later steps get the result of the one before."""
    steps: tuple[Step, ...]
    attempts: int = 0


Handle = Any
"""A Ray actor handle; Ray's own types do not know of `num_returns`."""
_Waiting = dict[Kind, deque[tuple[Work, int, tuple[Any, ...]]]]
"""Per kind: work, the step that is next, and the arguments of that step."""


class _Actor(Worker):
    """A worker that answers twice: a small receipt for the driver, and the payload by reference."""

    def __init__(self, *arguments: Any) -> None:
        os.environ.update(QUIET_ENVIRONMENT)  # a program's own Ray may have started without it
        super().__init__(*arguments)

    def call(self, method: str, to_driver: bool, *arguments: Any) -> tuple[Any, Any]:
        """(result, nothing) where the driver wants it, else (nothing, result)."""
        result = getattr(self, method)(*arguments)
        return (result, None) if to_driver else (None, result)


@dataclass(slots=True)
class _Running:
    work: Work
    step: int
    actor: Handle
    payload: Any
    to_driver: bool
    since: float

    @property
    def kind(self) -> Kind:
        return self.work.steps[self.step].kind


@dataclass(frozen=True)
class Poison:
    """Work that killed or hung its worker too often; `cause` says how it ended the last time."""

    work: Work
    error_class: str
    cause: str


@dataclass
class Engine:
    """Ray, and the pools of one job. Use as a context; leaving it ends what it started."""

    job: Job
    out: Path
    open_tokenizer: OpenTokenizer | None = None
    address: str | None = None
    pools: tuple[Pool, ...] = ()
    cluster: Cluster | None = None
    _idle: dict[Kind, list[Handle]] = field(default_factory=dict)
    _running: dict[Any, _Running] = field(default_factory=dict)
    _starting: dict[Any, tuple[Kind, Handle]] = field(default_factory=dict)
    _job_ref: Any = None
    _owns_ray: bool = True

    def __enter__(self) -> "Engine":
        started = time.perf_counter()
        self._owns_ray = not ray.is_initialized()
        try:
            self.cluster = connect(self.job, self.address)
            self.pools = fit(self.job, self.cluster)
            shared = ray.put(self.job)
            starting = {
                pool.kind: [self._start(pool, shared) for _ in range(pool.size)]
                for pool in self.pools
            }
            _wait_until_up(starting)
        except BaseException:
            self._leave_ray()
            raise
        self._idle = starting
        self._job_ref = shared
        logging.getLogger(__name__).info("workers up in %.1f s", time.perf_counter() - started)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for running in self._running.values():
            ray.kill(running.actor, no_restart=True)
        for _, actor in self._starting.values():
            ray.kill(actor, no_restart=True)
        for actor in (actor for actors in self._idle.values() for actor in actors):
            ray.kill(actor, no_restart=True)
        self._leave_ray()

    def _leave_ray(self) -> None:
        if self._owns_ray:
            ray.shutdown()

    @property
    def num_workers(self) -> int:
        return sum(pool.size for pool in self.pools)

    @property
    def _runtime_env(self) -> dict[str, Any] | None:
        # Workers of this machine inherit the environment that Ray was started in; an environment
        # of their own would cost seconds each, because Ray then starts them from nothing.
        return {"env_vars": WORKER_ENVIRONMENT} if self.address else None

    def stream(
        self,
        works: Iterable[Work],
        on_done: Callable[[Work, Any], None],
        *,
        keep_refs: bool = False,
        on_tick: Callable[[], None] = lambda: None,
    ) -> list[Poison]:
        """Takes all work through its steps; `on_done` gets each result as it comes.

        With `keep_refs` it gets the reference instead, and the result stays with the workers.
        Returns the work that was given up. An error that a worker raised by itself is ours and
        ends the stream: items do not raise, they fail.
        """
        source = iter(works)
        exhausted = False
        waiting: _Waiting = {pool.kind: deque() for pool in self.pools}
        poison: list[Poison] = []
        limit = IN_FLIGHT_PER_ACTOR * self.num_workers
        while True:
            under_way = len(self._running) + sum(len(queue) for queue in waiting.values())
            while not exhausted and under_way < limit:
                work = next(source, None)
                if work is None:
                    exhausted = True
                    break
                waiting[work.steps[0].kind].append((work, 0, work.first))
                under_way += 1
            self._dispatch(waiting, keep_refs)
            if not self._running and exhausted and not any(waiting.values()):
                return poison
            awaited = [*self._running, *self._starting]
            done, _ = ray.wait(awaited, num_returns=1, timeout=0.5)
            on_tick()
            for receipt in done:
                if receipt in self._starting:
                    self._has_started(receipt)
                    continue
                running = self._running.pop(receipt)
                work, step = running.work, running.step
                try:
                    result = ray.get(receipt)
                except RayTaskError as error:
                    raise _unwrap(error) from None
                except RayError as error:
                    # Its process is gone: killed by the item, by us, or by Ray for its memory.
                    ray.kill(running.actor, no_restart=True)
                    self._replace(running.kind)
                    self._try_again(work, waiting, poison, "CRASH", str(error).split("\n")[0])
                    continue
                self._idle[running.kind].append(running.actor)
                if step + 1 == len(work.steps):
                    on_done(work, result if running.to_driver else running.payload)
                else:
                    waiting[work.steps[step + 1].kind].append((work, step + 1, (running.payload,)))
            self._kill_hung(waiting, poison)

    def _dispatch(self, waiting: _Waiting, keep_refs: bool) -> None:
        for kind, queue in waiting.items():
            while queue and self._idle[kind]:
                # The work that is furthest along goes first: what is nearly done frees memory.
                entry = max(queue, key=lambda e: e[1])
                queue.remove(entry)
                work, index, arguments = entry
                step = work.steps[index]
                to_driver = index + 1 == len(work.steps) and not keep_refs
                actor = self._idle[kind].pop()
                receipt, payload = actor.call.options(num_returns=2).remote(
                    step.method, to_driver, *arguments, *step.extra
                )
                now = time.monotonic()
                self._running[receipt] = _Running(work, index, actor, payload, to_driver, now)

    def _try_again(
        self,
        work: Work,
        waiting: _Waiting,
        poison: list[Poison],
        error_class: str,
        cause: str,
    ) -> None:
        work.attempts += 1
        if work.attempts >= self.job.spec.run.max_attempts:
            poison.append(Poison(work, error_class, cause))
        else:
            waiting[work.steps[0].kind].append((work, 0, work.first))

    def _kill_hung(
        self,
        waiting: _Waiting,
        poison: list[Poison],
    ) -> None:
        limit_s = self.job.spec.run.item_timeout_s
        for ref, running in list(self._running.items()):
            if time.monotonic() - running.since > limit_s:
                del self._running[ref]
                ray.kill(running.actor, no_restart=True)
                self._replace(running.kind)
                cause = f"no answer within {limit_s:g} s (run.item_timeout_s)"
                self._try_again(running.work, waiting, poison, "TIMEOUT", cause)

    def _replace(self, kind: Kind) -> None:
        pool = next(pool for pool in self.pools if pool.kind == kind)
        actor = self._start(pool, self._job_ref)
        # It gets work once it is up, so that its start does not count as the work's time.
        self._starting[actor.process_id.remote()] = (kind, actor)

    def _has_started(self, receipt: Any) -> None:
        kind, actor = self._starting.pop(receipt)
        try:
            ray.get(receipt)
        except RayError as error:
            raise PlanError(f"a {kind} worker cannot be started again: {error}") from error
        self._idle[kind].append(actor)

    def _start(self, pool: Pool, job_ref: Any) -> Handle:
        # Restarts are ours to decide, per unit of work: Ray would retry a poison file for ever.
        actor_class = ray.remote(_Actor).options(
            max_restarts=0,
            max_task_retries=0,
            num_cpus=pool.num_cpus,
            num_gpus=pool.num_gpus,
            runtime_env=self._runtime_env,
        )
        return actor_class.remote(job_ref, self.out, self.open_tokenizer, Path.cwd())


def connect(job: Job, address: str | None) -> Cluster:
    """Starts Ray on this machine, or joins the cluster at `address`; says what there is.

    A program that has started Ray by itself keeps its own: the job runs there.
    """
    os.environ.update(QUIET_ENVIRONMENT)
    logging.getLogger("ray").setLevel(logging.ERROR)
    if ray.is_initialized():
        return _cluster_found("the Ray of this program")
    if address:
        try:
            _init(address=address)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise PlanError(f"no Ray cluster answers at {address!r}: {error}") from error
        check_guarded(ray.get_runtime_context().gcs_address)
        return _cluster_found(f"cluster {address}")
    cluster = this_machine(wants_gpu="gpu" in needs_of(job))
    fit(job, cluster)  # refuse before Ray is started, not after
    start_ray(num_cpus=int(cluster.num_cpus), num_gpus=int(cluster.num_gpus))
    return cluster


def start_ray(num_cpus: int, num_gpus: int) -> None:
    """A Ray of this program's own, on this machine: private, and without a dashboard."""
    before = dict(os.environ)
    os.environ.update(WORKER_ENVIRONMENT)
    try:
        # "local": never join a cluster that somebody else's `ray start` left behind.
        with private():
            _init(address="local", num_cpus=num_cpus, num_gpus=num_gpus, include_dashboard=False)
    finally:
        # One thread per worker is the workers' rule, not the program's that started them.
        for name in ONE_THREAD:
            os.environ.pop(name)
        os.environ.update({name: value for name, value in before.items() if name in ONE_THREAD})


def _cluster_found(where: str) -> Cluster:
    found = ray.cluster_resources()
    memory_mb = int(found.get("memory", 0) / 2**20)
    return Cluster(found.get("CPU", 0), found.get("GPU", 0), memory_mb, where)


def _init(**options: Any) -> None:
    # What workers print is theirs; what matters comes back as verdicts and failures.
    ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)


def _wait_until_up(starting: dict[Kind, list[Handle]]) -> None:
    calls = [actor.process_id.remote() for actors in starting.values() for actor in actors]
    try:
        ray.get(calls, timeout=START_TIMEOUT_S)
    except GetTimeoutError:
        raise PlanError(
            f"not all of {len(calls)} workers started within {START_TIMEOUT_S:g} s; is something "
            "else holding the cluster's CPUs or GPUs? ('ray status' shows it)"
        ) from None


def _unwrap(error: RayTaskError) -> BaseException:
    cause = error.as_instanceof_cause()
    original = getattr(cause, "cause", None)
    if isinstance(original, AudiomillError):
        return original
    return cause
