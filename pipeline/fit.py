"""Fits a job's workers to the cluster it finds, or says in figures why it cannot.

Consecutive stages that need the same resource form one station: an input is decoded once and its
waveform stays in that process; audio crosses between processes only where the resource changes.
All CPU stations share one pool of actors and all GPU stations another.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

import psutil

from pipeline.assemble import Job, NamedStage
from schemas.errors import PlanError
from schemas.job import TokenizeSpec
from stages.base import Resources

Kind = Literal["cpu", "gpu"]
Limits = tuple[int, int]
"""CPUs and megabytes."""
WORKER_OVERHEAD_MB = 600
"""Resident size of an idle worker: Python, Ray and torch, measured."""
RESIDENT_STAGE_MB = 40
"""What an opened stage keeps while others work. Stages of a worker never peak together."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What there is to run on."""

    num_cpus: float
    num_gpus: float
    memory_mb: int
    where: str


@dataclass(frozen=True, slots=True)
class Station:
    """Stages that run in one process, one after another."""

    kind: Kind
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pool:
    """Equal actors: how many, and what each of them claims."""

    kind: Kind
    size: int
    num_cpus: float
    num_gpus: float
    memory_mb: int


def stations_of(stages: Iterable[NamedStage]) -> tuple[Station, ...]:
    """Runs of consecutive stages of one resource kind."""
    return tuple(
        Station(kind, tuple(named.label for named in run))
        for kind, run in groupby(stages, key=lambda named: named.stage.resources().kind)
    )


def this_machine(wants_gpu: bool) -> Cluster:
    """CPUs that this process may use, free memory, and GPUs if the job wants any."""
    gpus = 0
    if wants_gpu:
        import torch

        gpus = torch.cuda.device_count()
    process = psutil.Process()
    cpus = len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else psutil.cpu_count()
    memory_mb = psutil.virtual_memory().available // 2**20
    cpus, memory_mb = _within_container(cpus or 1, memory_mb)
    return Cluster(float(cpus), float(gpus), int(memory_mb), "this machine")


def _within_container(cpus: int, memory_mb: int, root: Path = Path("/sys/fs/cgroup")) -> Limits:
    """Whole CPUs and memory, no more than the control group of a container allows."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
        if quota != "max":
            cpus = min(cpus, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass  # no cgroup v2: the machine's own figures hold
    try:
        limit = (root / "memory.max").read_text().strip()
        if limit != "max":
            used = int((root / "memory.current").read_text())
            memory_mb = min(memory_mb, max(0, int(limit) - used) // 2**20)
    except (OSError, ValueError):
        pass
    return cpus, memory_mb


def needs_of(job: Job) -> dict[Kind, Resources]:
    """What one actor of each kind must be given so that any station of that kind can run in it."""
    by_kind: dict[Kind, list[Resources]] = {}
    for named in job.stages:
        needed = named.stage.resources()
        by_kind.setdefault(needed.kind, []).append(needed)
    if job.spec.tokenize:
        needed = tokenizer_resources(job.spec.tokenize)
        by_kind.setdefault(needed.kind, []).append(needed)
        by_kind.setdefault("cpu", []).append(Resources())  # cutting spans and writing shards
    return {
        kind: Resources(
            num_cpus=max(r.num_cpus for r in all_of_kind),
            num_gpus=max(r.num_gpus for r in all_of_kind),
            memory_mb=WORKER_OVERHEAD_MB
            + max(r.memory_mb for r in all_of_kind)
            + RESIDENT_STAGE_MB * len(all_of_kind),
        )
        for kind, all_of_kind in sorted(by_kind.items())
    }


def tokenizer_resources(spec: TokenizeSpec) -> Resources:
    """A GPU of its own where the spec says cuda, else a core."""
    return Resources(num_cpus=1, num_gpus=1 if spec.device == "cuda" else 0, memory_mb=1000)


def fit(job: Job, cluster: Cluster) -> tuple[Pool, ...]:
    """Pools for the job; raises `PlanError` with the arithmetic if one actor each is too much."""
    needs = needs_of(job)
    wanted = job.spec.run.workers
    _check_possible(needs, cluster)
    pools = []
    cpus_left, memory_left = cluster.num_cpus, float(cluster.memory_mb)
    if gpu := needs.get("gpu"):
        size = math.floor(cluster.num_gpus / gpu.num_gpus)
        other = needs.get("cpu")
        spare_cpus = cpus_left - (other.num_cpus if other else 0)
        spare_memory = memory_left - (other.memory_mb if other else 0)
        size = max(1, min(size, *_carried(gpu, spare_cpus, spare_memory)))
        pools.append(Pool("gpu", size, gpu.num_cpus, gpu.num_gpus, gpu.memory_mb))
        cpus_left -= size * gpu.num_cpus
        memory_left -= size * gpu.memory_mb
    if cpu := needs.get("cpu"):
        size = max(1, min(_carried(cpu, cpus_left, memory_left)))
        size = min(size, wanted) if wanted else size
        pools.append(Pool("cpu", size, cpu.num_cpus, 0, cpu.memory_mb))
    return tuple(pools)


def _carried(needed: Resources, cpus: float, memory_mb: float) -> tuple[int, int]:
    return math.floor(cpus / needed.num_cpus), math.floor(memory_mb / needed.memory_mb)


def _check_possible(needs: dict[Kind, Resources], cluster: Cluster) -> None:
    for name, unit, has in (
        ("num_cpus", "CPUs", cluster.num_cpus),
        ("num_gpus", "GPUs", cluster.num_gpus),
        ("memory_mb", "MB of memory", cluster.memory_mb),
    ):
        parts = [(kind, getattr(needed, name)) for kind, needed in needs.items()]
        total = sum(amount for _, amount in parts)
        if total > has:
            sum_ = " + ".join(f"{amount:g} ({kind} actor)" for kind, amount in parts if amount)
            raise PlanError(
                f"this job cannot be scheduled: one actor of each kind needs {sum_} = {total:g} "
                f"{unit}, and {cluster.where} has {has:g}; choose engines that need less "
                "(device: cpu) or run on another cluster (--address)"
            )


def pool_sizes(pools: Sequence[Pool]) -> dict[Kind, int]:
    """Actors per kind."""
    return {pool.kind: pool.size for pool in pools}
