"""Streams work through pools of Ray actors.

Work goes through its steps from actor to actor by reference, so the driver never holds a waveform.
Later steps go first and new work is taken on only while little is under way, so memory stays
bounded however long the input is. A worker that dies or hangs is replaced; what it held is tried
again by the rules of `attempts.py`, or handed back to the caller as poison.
"""

import logging
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from pipeline.assemble import Job
from pipeline.attempts import Ledger
from pipeline.crew import Crew, Ending, Seat
from pipeline.fit import Cluster, Kind, Pool, fit
from pipeline.heartbeat import clear_heartbeats
from pipeline.metrics import Metrics
from pipeline.quiet import WORKER_ENVIRONMENT
from pipeline.ray_cluster import connect
from pipeline.work import Poison, Queue, Work
from pipeline.worker import OpenTokenizer
from schemas.errors import AudiomillError, EngineMissingError, StorageError
from schemas.ids import digest

IN_FLIGHT_PER_ACTOR = 2
"""Work begun but not finished, per actor of the first step; bounds what waits between stations."""


@dataclass(slots=True)
class _Running:
    work: Work
    step: int
    seat: Seat
    payload: Any
    to_driver: bool
    since: float


@dataclass
class Engine:
    """Ray, and the pools of one job. Use as a context; leaving it ends what it started."""

    job: Job
    out: Path
    open_tokenizer: OpenTokenizer | None = None
    address: str | None = None
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Not from the time: two drivers may start in the same instant."""
    pools: tuple[Pool, ...] = ()
    cluster: Cluster | None = None
    ended: Counter[str] = field(default_factory=Counter)
    """Workers that were replaced after their death, or recycled because they had grown."""
    _metrics: Metrics | None = None
    _crew: Crew | None = None
    _ledger: Ledger | None = None
    _running: dict[Any, _Running] = field(default_factory=dict)
    _died_opening: Counter[str] = field(default_factory=Counter)
    _owns_ray: bool = True

    def __enter__(self) -> "Engine":
        started = time.perf_counter()
        self._owns_ray = not ray.is_initialized()
        try:
            self.cluster = connect(self.job, self.address)
            self.pools = fit(self.job, self.cluster)
            # Workers of this machine inherit the environment that Ray was started in; one of their
            # own would cost seconds each, because Ray then starts them from nothing.
            runtime_env = {"env_vars": WORKER_ENVIRONMENT} if self.address else None
            self._metrics = Metrics(self.job.spec.name)
            arguments = (ray.put(self.job), self.out, self.open_tokenizer, Path.cwd())
            run = self.job.spec.run
            self._crew = Crew(
                self.pools, run, self.run_id, self.out, arguments, runtime_env, self._has_lost
            )
            self._crew.start()
        except BaseException:
            self._leave()
            raise
        logging.getLogger(__name__).info("workers up in %.1f s", time.perf_counter() - started)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._ledger is not None:
                if isinstance(error, AudiomillError):
                    # A person mends something now: what was known before may not hold after it.
                    self._ledger.forgive()
                self._ledger.close()
        except StorageError:
            if error is None:
                raise
        finally:
            self._leave()

    def _leave(self) -> None:
        if self._crew is not None:
            self._crew.end()
        if self._owns_ray:
            ray.shutdown()

    @property
    def crew(self) -> Crew:
        """The actors; only inside the context."""
        if self._crew is None:
            raise RuntimeError("the engine is not running")
        return self._crew

    @property
    def metrics(self) -> Metrics:
        """Of this run; only once the engine is running."""
        if self._metrics is None:
            raise RuntimeError("the engine is not running")
        return self._metrics

    @property
    def num_workers(self) -> int:
        return sum(pool.size for pool in self.pools)

    def stream(
        self,
        works: Iterable[Work],
        on_done: Callable[[Work, Any], None],
        *,
        keep_refs: bool = False,
        on_tick: Callable[[], None] = lambda: None,
        on_poison: Callable[[Poison], None] = lambda _: None,
    ) -> list[Poison]:
        """Takes all work through its steps; `on_done` gets each result as it comes.

        With `keep_refs` it gets the reference instead, and the result stays with the workers.
        Returns the work that was given up, of which `on_poison` hears at once. An error that a
        worker raised by itself is ours and ends the stream: items do not raise, they fail.
        """
        waiting: dict[Kind, deque[Any]] = {pool.kind: deque() for pool in self.pools}
        queue = Queue(iter(works), waiting, on_poison)
        while True:
            self._take_on(queue)
            self._dispatch(queue, keep_refs)
            if not self._running and queue.is_empty:
                return queue.poison
            awaited = [*self._running, *self.crew.starting]
            done, _ = ray.wait(awaited, num_returns=1, timeout=0.5)
            on_tick()
            for receipt in done:
                if receipt in self.crew.starting:
                    self.crew.has_started(receipt)
                else:
                    self._has_ended(receipt, queue, on_done)
            self._end_hung(queue)
            self.crew.check_starts()

    def _take_on(self, queue: Queue) -> None:
        """New work while little is under way; suspects last, one at a time."""
        limit = IN_FLIGHT_PER_ACTOR * self.num_workers
        while not queue.exhausted and len(self._running) + queue.num_waiting < limit:
            work = next(queue.source, None)
            if work is None:
                queue.exhausted = True
            else:
                self._try(work, queue)
        if queue.suspects and queue.exhausted and not self._running and not queue.num_waiting:
            work = queue.suspects.popleft()
            work.alone = True
            queue.put(work, 0, work.first)

    def _has_lost(self, how: str) -> None:
        self.ended[how] += 1
        self.metrics.worker(how)

    def _try(self, work: Work, queue: Queue) -> None:
        queue.try_again(work, self._attempts().of(work.name), self.job.spec.run.max_attempts)

    def _dispatch(self, queue: Queue, keep_refs: bool) -> None:
        ready: list[tuple[Seat, Work, int, tuple[Any, ...]]] = []
        for kind, waiting in queue.waiting.items():
            while waiting and (seat := self.crew.take(kind)):
                # The work that is furthest along goes first: what is nearly done frees memory.
                entry = max(waiting, key=lambda e: e[1])
                waiting.remove(entry)
                ready.append((seat, *entry))
        begins = [work for _, work, index, _ in ready if index == 0]
        self._attempts().starts({work.name: work.alone for work in begins})
        for seat, work, index, arguments in ready:
            step = work.steps[index]
            to_driver = index + 1 == len(work.steps) and not keep_refs
            receipt, payload = seat.handle.call.options(num_returns=2).remote(
                work.name, work.num_inputs, step.method, to_driver, *arguments, *step.extra
            )
            now = time.monotonic()
            self._running[receipt] = _Running(work, index, seat, payload, to_driver, now)

    def _has_ended(
        self, reference: Any, queue: Queue, on_done: Callable[[Work, Any], None]
    ) -> None:
        running = self._running.pop(reference)
        work = running.work
        try:
            receipt = ray.get(reference)
        except RayTaskError as error:
            raise _unwrap(error) from None
        except RayError as error:
            # Its process is gone: killed by the item, by us, or by Ray for its memory.
            ending = self.crew.bury(running.seat, work.name, error)
            self._again(work, ending, queue)
            return
        self.crew.give_back(running.seat, receipt)
        if running.step + 1 < len(work.steps):
            queue.put(work, running.step + 1, (running.payload,))
            return
        on_done(work, receipt.result if running.to_driver else running.payload)
        self._attempts().ended(work.name)

    def _end_hung(self, queue: Queue) -> None:
        limit_s = self.job.spec.run.item_timeout_s
        for reference, running in list(self._running.items()):
            if time.monotonic() - running.since > limit_s:
                del self._running[reference]
                ending = self.crew.bury(running.seat, running.work.name, None)
                self._again(running.work, ending, queue)

    def _again(self, work: Work, ending: Ending, queue: Queue) -> None:
        """Weighs how a worker ended and has its work tried again, or given up."""
        ledger = self._attempts()
        if not ending.through_work:
            ledger.lost(work.name, ending.cause)
        elif ending.opening:
            ledger.came_back(work.name)
            self._died_opening[ending.stage] += 1
            if self._died_opening[ending.stage] >= self.job.spec.run.max_attempts:
                raise EngineMissingError(
                    f"stages.{ending.stage}: opening its engine ended the worker "
                    f"{self._died_opening[ending.stage]} times ({ending.cause}); try the engine on "
                    "its own, or choose another one"
                )
        else:
            ledger.strike(work.name, ending.error_class, ending.cause, ending.stage)
        self._try(work, queue)

    def _attempts(self) -> Ledger:
        if self._ledger is None:
            # Not before there is work: until then nothing in the output is touched.
            settings = digest(self.job.spec.run.model_dump_json())
            self._ledger = Ledger(self.out, self.run_id, settings)
            for driver in self._ledger.open():
                clear_heartbeats(self.out, driver)
        return self._ledger


def _unwrap(error: RayTaskError) -> BaseException:
    cause = error.as_instanceof_cause()
    original = getattr(cause, "cause", None)
    if isinstance(original, AudiomillError):
        return original
    return cause
