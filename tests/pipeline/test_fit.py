"""Fitting pools to a cluster, and refusing with the arithmetic what cannot be scheduled."""

from pathlib import Path

import pytest

from pipeline.assemble import Job, NamedStage, Pass
from pipeline.fit import Cluster, _within_container, fit, stations_of
from schemas.errors import PlanError
from schemas.job import InputsSpec, JobSpec, RunSpec
from stages.base import Resources
from tests.pipeline.toy_stages import ToyCut, ToyDecode, ToyScore


class GpuScore(ToyScore):
    """A toy that wants a GPU."""

    gpus = 1.0

    def resources(self) -> Resources:
        return Resources(num_cpus=1, num_gpus=self.gpus, memory_mb=1000)


class SharedGpuScore(GpuScore):
    gpus = 0.5


def make_job(*stages: NamedStage, workers: int | None = None) -> Job:
    spec = JobSpec(
        name="toy",
        inputs=InputsSpec(uri="in"),
        output="out",
        stages={"decode": {}},
        run=RunSpec(workers=workers),
    )
    return Job(spec, stages, (Pass(stages),))


DECODE = NamedStage("decode", ToyDecode(ToyDecode.Spec()))
CUT = NamedStage("segment", ToyCut(ToyCut.Spec()))
SCORE = NamedStage("quality", ToyScore(ToyScore.Spec()))
GPU = NamedStage("asr", GpuScore(ToyScore.Spec()))
HALF_GPU = NamedStage("asr", SharedGpuScore(ToyScore.Spec()))


def cluster(cpus: float, gpus: float = 0, memory_gb: int = 64) -> Cluster:
    return Cluster(cpus, gpus, memory_gb * 1024, "a test cluster")


def test_consecutive_stages_of_one_resource_share_a_station() -> None:
    labels = [s.labels for s in stations_of([DECODE, CUT, GPU, SCORE])]
    assert labels == [("decode", "segment"), ("asr",), ("quality",)]


def test_cpu_actors_fill_the_cores_and_workers_caps_them() -> None:
    (pool,) = fit(make_job(DECODE, CUT, SCORE), cluster(8))
    assert (pool.kind, pool.size) == ("cpu", 8)
    (pool,) = fit(make_job(DECODE, CUT, SCORE, workers=3), cluster(8))
    assert pool.size == 3


def test_gpu_actors_take_their_cores_first_and_leave_one_for_the_others() -> None:
    pools = {p.kind: p for p in fit(make_job(DECODE, CUT, GPU), cluster(8, gpus=2))}
    assert (pools["gpu"].size, pools["cpu"].size) == (2, 6)
    pools = {p.kind: p for p in fit(make_job(DECODE, CUT, GPU), cluster(2, gpus=8))}
    assert (pools["gpu"].size, pools["cpu"].size) == (1, 1)


def test_fractions_of_a_gpu_are_counted() -> None:
    pools = {p.kind: p for p in fit(make_job(DECODE, CUT, HALF_GPU), cluster(16, gpus=2))}
    assert pools["gpu"].size == 4


def test_memory_limits_the_actors_too() -> None:
    (pool,) = fit(make_job(DECODE, CUT, SCORE), cluster(64, memory_gb=8))
    assert pool.size == 8 * 1024 // (600 + 200 + 3 * 40)


def test_a_container_s_limits_count_before_the_machine_s(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("200000 100000\n")
    (tmp_path / "memory.max").write_text(f"{4 << 30}\n")
    (tmp_path / "memory.current").write_text(f"{1 << 30}\n")
    assert _within_container(64, 100_000, tmp_path) == (2, 3072)
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert _within_container(64, 100_000, tmp_path) == (64, 100_000)
    assert _within_container(64, 100_000, tmp_path / "none") == (64, 100_000)


@pytest.mark.parametrize(
    ("stages", "has", "said"),
    [
        ((DECODE, CUT, GPU), cluster(4), "1 (gpu actor) = 1 GPUs, and a test cluster has 0"),
        ((DECODE, CUT, GPU), cluster(1, 1), "1 (cpu actor) + 1 (gpu actor) = 2 CPUs"),
        ((DECODE, CUT, GPU), cluster(4, 1, memory_gb=1), "MB of memory, and a test cluster has"),
    ],
)
def test_what_cannot_be_scheduled_is_refused_with_the_arithmetic(
    stages: tuple[NamedStage, ...], has: Cluster, said: str
) -> None:
    with pytest.raises(PlanError) as caught:
        fit(make_job(*stages), has)
    assert said in str(caught.value)
