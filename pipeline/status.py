"""What became of a job's inputs, counted from the committed tables alone."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.heartbeat import Heartbeat, read_heartbeats
from pipeline.manifest import Manifest
from pipeline.output import read_inputs, read_job
from schemas.errors import OutputError
from schemas.failures import UNCODED


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """What a worker of a run that is under way is doing."""

    worker: str
    host: str
    pid: int
    state: str
    """`idle`, `working`, `opening` (loads a model), `stuck`, or `gone`: its run was killed."""
    unit: str
    inputs: int
    stage: str
    seconds: float
    """Since that call of the stage began."""

    @classmethod
    def of(cls, beat: Heartbeat, out: Path) -> "WorkerStatus":
        state = "opening" if beat.opening else "working" if beat.unit else "idle"
        if beat.is_gone(out):
            state = "gone"
        elif beat.is_stuck():
            state = "stuck"
        seconds = round(beat.seconds(), 1)
        told = (beat.worker, beat.host, beat.pid, state, beat.unit, beat.inputs, beat.stage)
        return cls(*told, seconds)

    def to_text(self) -> str:
        doing = f" {self.stage} for {self.seconds:.0f} s, unit {self.unit}" if self.unit else ""
        return f"worker {self.worker} (process {self.pid} on {self.host}): {self.state}{doing}"


@dataclass(frozen=True, slots=True)
class Status:
    """Counts of an output: inputs = done + rejected + failed + forgotten + pending, always."""

    name: str
    inputs: int
    done: int
    rejected: int
    failed: int
    forgotten: int
    """Of which no rows are left, by `audiomill forget`."""
    pending: int
    segments: int
    kept: int
    dropped: int
    segments_failed: int
    hours: float
    """Hours of audio decoded, of inputs that came to an end."""
    kept_hours: float
    frames: int
    """Codec frames of 1/25 s in committed shards."""
    shards: int
    untokenized: int
    """Kept segments that are to be coded still; 0 if the job makes no shards."""
    uncoded: int
    """Kept segments that could not be coded; table `failures` says why."""
    runs: int
    cost: float
    currency: str
    workers: tuple[WorkerStatus, ...] = ()
    """Of runs that are under way, or were killed."""

    @property
    def complete(self) -> bool:
        return self.pending == 0 and self.untokenized == 0

    @property
    def yield_fraction(self) -> float:
        """Kept hours over hours decoded."""
        return self.kept_hours / self.hours if self.hours else 0.0

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "complete": self.complete})

    def to_text(self) -> str:
        """A few lines for a person."""
        lines = [
            f"{self.name}: {self.inputs} inputs = {self.done} done + {self.rejected} rejected "
            f"+ {self.failed} failed"
            + (f" + {self.forgotten} forgotten" if self.forgotten else "")
            + f" + {self.pending} pending",
            f"segments: {self.segments} = {self.kept} kept + {self.dropped} dropped "
            f"+ {self.segments_failed} failed",
            f"hours: {self.hours:.3f} decoded, {self.kept_hours:.3f} kept "
            f"({self.yield_fraction:.1%} yield)",
            f"shards: {self.shards} with {self.frames} frames"
            + (f", {self.untokenized} kept segments to go" if self.untokenized else "")
            + (f", {self.uncoded} kept segments without codes" if self.uncoded else ""),
            f"runs: {self.runs}, cost {self.cost:.4f} {self.currency}",
            *(worker.to_text() for worker in self.workers),
        ]
        return "\n".join(lines)


def status_of(out: Path) -> Status:
    """Status of an output folder; raises `OutputError` if it is none, or does not add up."""
    record = read_job(out)
    manifest = Manifest(out)
    inputs = len(read_inputs(out))
    with manifest.connect() as db:
        ended = db.execute("SELECT outcome, count(*) FROM recordings GROUP BY 1").fetchall()
        outcome: dict[str, int] = dict(ended)
        verdict: dict[str, int] = dict(
            db.execute("SELECT verdict, count(*) FROM segments GROUP BY 1").fetchall()
        )
        hours, kept_hours = _row(
            db.execute(
                "SELECT coalesce(sum(decoded_s), 0) / 3600, coalesce(sum(kept_s), 0) / 3600 "
                "FROM recordings"
            ).fetchone()
        )
        frames, shards = _row(
            db.execute(
                "SELECT coalesce(sum(num_frames), 0)::BIGINT, count(*) FROM shards"
            ).fetchone()
        )
        tokenized = _row(db.execute("SELECT count(*) FROM tokens").fetchone())[0]
        uncoded = _row(
            db.execute("SELECT count(*) FROM failures WHERE stage = ?", [UNCODED]).fetchone()
        )[0]
        runs, cost, currency = _row(
            db.execute(
                "SELECT count(*), coalesce(sum(cost), 0), coalesce(any_value(currency), '') "
                "FROM runs"
            ).fetchone()
        )
        repeated = _row(
            db.execute("SELECT count(*) - count(DISTINCT source_id) FROM recordings").fetchone()
        )[0]
        forgotten = _row(db.execute("SELECT count(*) FROM tombstones").fetchone())[0]
    pending = inputs - sum(outcome.values()) - int(forgotten)
    if repeated or pending < 0:
        raise OutputError(
            f"{out}: {sum(outcome.values())} recordings for {inputs} inputs, {repeated} of them "
            "twice; the output is damaged, run the job into a new one"
        )
    kept = verdict.get("kept", 0)
    return Status(
        name=record["spec"]["name"],
        inputs=inputs,
        done=outcome.get("done", 0),
        rejected=outcome.get("rejected", 0),
        failed=outcome.get("failed", 0),
        forgotten=int(forgotten),
        pending=pending,
        segments=sum(verdict.values()),
        kept=kept,
        dropped=verdict.get("dropped", 0),
        segments_failed=verdict.get("failed", 0),
        hours=float(hours),
        kept_hours=float(kept_hours),
        frames=int(frames),
        shards=int(shards),
        uncoded=int(uncoded),
        untokenized=kept - int(tokenized) - int(uncoded) if record["spec"].get("tokenize") else 0,
        runs=int(runs),
        cost=float(cost),
        currency=str(currency),
        workers=tuple(WorkerStatus.of(beat, out) for beat in read_heartbeats(out)),
    )


def _row(row: tuple[Any, ...] | None) -> tuple[Any, ...]:
    if row is None:
        raise OutputError("a count came back without a row; the output is damaged")
    return row
