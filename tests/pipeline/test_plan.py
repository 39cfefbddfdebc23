"""A plan over files of strangers: its hours come out of a process of their own."""

from pathlib import Path

import pytest

from benchmarks.malformed.kinds import KINDS, make_kind
from pipeline.assemble import assemble
from pipeline.fit import Cluster
from pipeline.plan import plan_job
from schemas.job import InputsSpec, JobSpec
from tests.stages.decoding.asking import GOOD

BAD = ("bombs/ogg-20000-streams", "lies/flac-length", "lures/ffconcat-relative")


def test_files_that_harm_or_lie_leave_a_plan_sane(tmp_path: Path) -> None:
    inputs = tmp_path / "in"
    for kind in KINDS:
        if kind.name in BAD:
            make_kind(inputs, kind)
    (inputs / "good.wav").write_bytes(GOOD)
    spec = JobSpec(
        name="strangers",
        inputs=InputsSpec(uri=str(inputs)),
        output=str(tmp_path / "out"),
        stages={"decode": {"max_hours": 0.001}},
    )
    cluster = Cluster(num_cpus=2, num_gpus=0, memory_mb=8192, where="a test cluster")
    plan = plan_job(assemble(spec), cluster)
    assert (plan.inputs, plan.pending, plan.probed) == (4, 4, 1)
    assert plan.audio_hours == pytest.approx(plan.gigabytes * 1e9 / 32_000 / 3600, rel=0.01)
    assert not (tmp_path / "out").exists()
    longer = spec.model_copy(update={"stages": {"decode": {"max_hours": 0.0005}}})
    assert plan_job(assemble(longer), cluster).probed == 0, "2 s are more than this job decodes"
