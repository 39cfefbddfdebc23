"""What a job would do, how it fits the machine, and about what it would take. Runs nothing."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass

from pipeline.assemble import Job
from pipeline.cost import cost_of
from pipeline.fit import Cluster, Pool, fit, pool_sizes, stations_of
from pipeline.inputs import list_inputs
from pipeline.output import find_output
from pipeline.probe import READ_HEADER, audio_hours
from schemas.source import Source
from stages.decode import PyavDecode
from stages.decoding.decoder import IsolatedDecoder

BYTES_PER_FRAME = 7.9
"""Measured size of a shard, per codec frame of 8 codebooks."""
FRAMES_PER_HOUR = 25 * 3600


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """One stage of the plan."""

    label: str
    engine: str
    kind: str
    speed_x_real_time: float
    hours: float
    """Worker hours it would take, were nothing dropped before it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A job as it would run on this machine or cluster."""

    name: str
    output: str
    inputs: int
    pending: int
    left_alone: int
    gigabytes: float
    audio_hours: float
    """Of the pending inputs; from the headers of a sample."""
    probed: int
    stages: tuple[PlannedStage, ...]
    stations: tuple[str, ...]
    pools: tuple[Pool, ...]
    cluster: Cluster
    wall_hours: float
    cost: float
    currency: str
    shard_gigabytes_at_most: float

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    def to_text(self) -> str:
        """The plan for a person, one screen."""
        lines = [
            f"{self.name}: {self.pending} of {self.inputs} inputs to do, {self.gigabytes:.2f} GB, "
            f"about {self.audio_hours:.2f} h of audio (from {self.probed} headers); "
            f"{self.left_alone} other files left alone",
            f"output: {self.output}",
            "",
            f"{'stage':<16}{'engine':<44}{'on':<5}{'x real time':>12}{'worker h':>10}",
        ]
        lines += [
            f"{s.label:<16}{s.engine[:42]:<44}{s.kind:<5}{s.speed_x_real_time:>12.0f}{s.hours:>10.3f}"
            for s in self.stages
        ]
        pools = ", ".join(
            f"{p.size} {p.kind} actor{'s' if p.size > 1 else ''} of {p.num_cpus:g} CPU"
            + (f" + {p.num_gpus:g} GPU" if p.num_gpus else "")
            for p in self.pools
        )
        lines += [
            "",
            f"stations: {' | '.join(self.stations)}",
            f"fit: {pools} on {self.cluster.where} ({self.cluster.num_cpus:g} CPUs, "
            f"{self.cluster.num_gpus:g} GPUs, {self.cluster.memory_mb / 1024:.0f} GB)",
            f"estimate: about {_duration(self.wall_hours)} of stages if nothing is dropped, "
            f"{self.cost:.2f} {self.currency}, "
            f"shards of up to {self.shard_gigabytes_at_most:.3f} GB",
        ]
        return "\n".join(lines)


def plan_job(job: Job, cluster: Cluster) -> Plan:
    """The plan; raises what `run` would raise before it starts. Touches nothing."""
    listing = list_inputs(job.spec.inputs)
    pools = fit(job, cluster)
    output = find_output(job, listing)
    pending: Sequence[Source] = output.pending(job) if output else listing.sources
    hours, probed = _audio_hours(job, pending)
    sizes = pool_sizes(pools)
    stages = []
    busy: dict[str, float] = {}
    for named in job.stages:
        kind = named.stage.resources().kind
        stage_hours = hours / named.stage.speed_x_real_time
        busy[kind] = busy.get(kind, 0.0) + stage_hours
        stages.append(
            PlannedStage(
                named.label,
                named.stage.describe(),
                kind,
                named.stage.speed_x_real_time,
                stage_hours,
            )
        )
    wall_hours = max((busy[kind] / sizes[kind] for kind in busy if kind in sizes), default=0.0)
    return Plan(
        name=job.spec.name,
        output=job.spec.output,
        inputs=len(listing.sources),
        pending=len(pending),
        left_alone=listing.num_left_alone,
        gigabytes=sum(s.size_bytes for s in pending) / 1e9,
        audio_hours=hours,
        probed=probed,
        stages=tuple(stages),
        stations=tuple(
            f"[{station.kind}] {' > '.join(station.labels)}" for station in stations_of(job.stages)
        ),
        pools=pools,
        cluster=cluster,
        wall_hours=wall_hours,
        cost=cost_of(pools, wall_hours * 3600, job.spec.cost),
        currency=job.spec.cost.currency,
        shard_gigabytes_at_most=(
            hours * FRAMES_PER_HOUR * BYTES_PER_FRAME / 1e9 if job.spec.tokenize else 0.0
        ),
    )


def _audio_hours(job: Job, pending: Sequence[Source]) -> tuple[float, int]:
    """By the decode stage's limits, in a process that a file may crash or hang."""
    stages = [named.stage for named in job.stages]
    spec = next((s.spec for s in stages if isinstance(s, PyavDecode)), PyavDecode.Spec())
    with closing(IsolatedDecoder(READ_HEADER, attempts=1)) as decoder:
        return audio_hours(pending, spec.limits(), decoder)


def _duration(hours: float) -> str:
    if hours < 1 / 60:
        return f"{hours * 3600:.0f} s"
    return f"{hours * 60:.0f} min" if hours < 2 else f"{hours:.1f} h"
