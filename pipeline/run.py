"""Runs a job: lists its inputs, sweeps over what is pending, settles duplicates, writes shards.

Every step looks in the manifest for what is already committed, so running again goes on where the
last run stopped, however it ended.
"""

import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

from pipeline.assemble import Job
from pipeline.catalog import write_catalog
from pipeline.cost import cost_of
from pipeline.engine import Engine
from pipeline.events import event, logged, unit_committed
from pipeline.fit import Pool
from pipeline.inputs import Listing, list_inputs
from pipeline.output import (
    Output,
    check_can_be_made,
    check_clearable,
    clear,
    find_output,
    open_output,
)
from pipeline.output_lock import locked
from pipeline.process import Clocks
from pipeline.shards import ShardPlan
from pipeline.sweep import run_sweep, settle_exact_duplicates, settle_near_duplicates
from pipeline.tokenize import ask_fingerprint, missing_shards, write_shards
from pipeline.units import FINISHED
from pipeline.worker import OpenTokenizer, UnitResult, add_clocks
from pipeline.working_copy import folder_of
from schemas.errors import StorageError
from schemas.source import Source

RECORDED_PACKAGES = (
    *("audiomill", "torch", "torchaudio", "av", "ray", "pyarrow", "deltalake", "duckdb"),
    *("silero-vad", "pyannote.audio", "faster-whisper", "pocketsphinx", "resemblyzer", "numpy"),
)


class Reporter(Protocol):
    """Who is told how a run is going."""

    def listed(self, listing: Listing, pending: list[Source]) -> None: ...
    def workers_up(self, pools: tuple[Pool, ...], seconds: float) -> None: ...
    def sweep_begins(self, title: str, num_inputs: int) -> None: ...
    def unit_done(self, result: UnitResult) -> None: ...
    def duplicates_settled(self, result: UnitResult) -> None: ...
    def tokenizing(self, num_shards: int, num_segments: int) -> None: ...
    def shard_done(self, plan: ShardPlan, num_frames: int) -> None: ...
    def tick(self) -> None: ...
    def say(self, line: str) -> None: ...


@dataclass
class RunRecord:
    """What one run did, for the table `runs`."""

    started: float = field(default_factory=time.perf_counter)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    clocks: Clocks = field(default_factory=dict)
    inputs: int = 0
    decoded_s: float = 0.0
    ending: str = "failed"
    wall_s: float = 0.0
    workers: int = 0

    def count(self, result: UnitResult) -> None:
        add_clocks(self.clocks, result.clocks)
        self.inputs += sum(result.num_by_outcome.values())
        self.decoded_s += result.ended_s


def run_job(
    job: Job,
    reporter: Reporter,
    *,
    open_tokenizer: OpenTokenizer | None = None,
    address: str | None = None,
    fresh: bool = False,
    shared: bool = False,
) -> RunRecord:
    """Runs or resumes the job; what is committed when it returns, or is interrupted, stays.

    A second run at the same time is refused, where the disk has locks, because it would mostly do
    the same work again. It would do no harm, and with `shared` it is welcome.

    Raises `AudiomillError` before anything starts when the job cannot run as asked. A
    KeyboardInterrupt (a SIGTERM gives one too) passes through after the workers are gone and the
    run is recorded.
    """
    listing = list_inputs(job.spec.inputs)
    out = folder_of(job.spec.output)
    output = None
    if fresh:
        check_clearable(out)
    else:
        output = find_output(job, listing)
    record = RunRecord()
    begun = False
    if output and output.manifest.is_committed(FINISHED):
        reporter.listed(listing, [])
        record.ending = "finished"
        write_catalog(output.manifest)
        return record
    check_can_be_made(out)  # before the half minute that workers take
    reporter.say(f"{len(listing.sources)} inputs; starting Ray and the workers")
    engine = Engine(job, out, open_tokenizer, address)
    try:
        with engine, nullcontext() if shared else locked(out):
            # Only now, when it is known that the job can run here, is anything touched.
            if fresh:
                clear(out)
            output = open_output(job, listing)
            begun = True
            reporter.listed(listing, output.pending(job))
            if job.spec.run.inputs_per_unit not in (None, output.rule.max_inputs):
                reporter.say(
                    f"run.inputs_per_unit stays {output.rule.max_inputs}, as when the job began"
                )
            record.workers = engine.num_workers
            reporter.workers_up(engine.pools, time.perf_counter() - record.started)
            with logged(
                out,
                engine.run_id,
                job=job.fingerprint(),
                workers=record.workers,
                versions=_versions(),
            ):
                _run(engine, output, record, reporter)
        record.ending = "finished"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            record.ending = "interrupted"
        if output is not None and begun:
            # A disk that failed the run may well fail its record: the first error is told.
            with suppress(StorageError):
                _close(job, engine, output, record)
        raise
    _close(job, engine, output, record)
    return record


def _run(engine: Engine, output: Output, record: RunRecord, reporter: Reporter) -> None:
    job = engine.job

    def count(result: UnitResult) -> None:
        record.count(result)
        unit_committed(result)
        engine.metrics.unit(result)

    def on_unit(result: UnitResult) -> None:
        count(result)
        reporter.unit_done(result)

    def on_duplicates(result: UnitResult) -> None:
        count(result)
        reporter.duplicates_settled(result)

    settle_exact_duplicates(engine, output, on_duplicates, reporter.tick)
    for index, sweep in enumerate(job.passes):
        last = index + 1 == len(job.passes)
        title = "measuring" if last else "looking for duplicates"
        left = output.open_units(sweep)
        num_inputs = sum(len(unit.sources) for unit in left)
        event("sweep_begun", sweep=index, units=len(left), inputs=num_inputs)
        engine.metrics.sweep(num_inputs)
        reporter.sweep_begins(title, num_inputs)
        run_sweep(engine, output, sweep, last=last, on_unit=on_unit, on_tick=reporter.tick)
        if sweep.barrier:
            settle_near_duplicates(output, sweep.barrier, on_duplicates)
    if job.spec.tokenize:
        fingerprint = ask_fingerprint(engine)
        plans = missing_shards(output, engine, fingerprint)
        reporter.tokenizing(len(plans), sum(len(plan.rows) for plan in plans))
        write_shards(
            engine,
            output,
            plans,
            fingerprint,
            on_shard=reporter.shard_done,
            on_clocks=lambda clocks: add_clocks(record.clocks, clocks),
            on_tick=reporter.tick,
        )
    # For good: inputs, units and spec are fixed for the life of the job.
    output.manifest.commit_rows(FINISHED, {})


def _close(job: Job, engine: Engine, output: Output, record: RunRecord) -> None:
    """Records the run, and writes the catalogue."""
    record.wall_s = time.perf_counter() - record.started
    ended_at = datetime.now(UTC)
    engines = {named.label: named.stage.describe() for named in job.stages}
    cluster = engine.cluster
    row = {
        "run_id": engine.run_id,
        "started_at": record.started_at,
        "ended_at": ended_at,
        "ending": record.ending,
        "job_fingerprint": job.fingerprint(),
        "spec": job.spec.model_dump_json(),
        "versions": list(_versions().items()),
        "workers": record.workers,
        "workers_replaced": engine.ended["replaced"],
        "workers_recycled": engine.ended["recycled"],
        "cpus": cluster.num_cpus if cluster else 0.0,
        "gpus": cluster.num_gpus if cluster else 0.0,
        "wall_s": record.wall_s,
        "inputs": record.inputs,
        "hours": record.decoded_s / 3600,
        "stages": [
            {
                "stage": label,
                "engine": engines.get(label, label),
                "items": clock.items,
                "compute_s": clock.compute_s,
            }
            for label, clock in record.clocks.items()
        ],
        "cost": cost_of(engine.pools, record.wall_s, job.spec.cost),
        "currency": job.spec.cost.currency,
    }
    output.manifest.commit_rows(engine.run_id, {"runs": [row]})
    write_catalog(output.manifest)


def _versions() -> dict[str, str]:
    found = {}
    for package in RECORDED_PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
