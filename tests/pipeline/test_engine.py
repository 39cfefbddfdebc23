"""The engine under faults, on real Ray: who is blamed, what is said, and when a job stops."""

import json
import re
import time
from pathlib import Path

import httpx
import psutil
import pytest
import ray

from pipeline.assemble import Job
from pipeline.heartbeat import Heartbeat, read_heartbeats
from pipeline.manifest import Manifest
from pipeline.run import run_job
from pipeline.status import status_of
from schemas.errors import EngineMissingError, JobStoppedError, PlanError, StorageError
from schemas.job import RunSpec
from tests.pipeline.faulty_stages import (
    AbortingDecode,
    NoModelDecode,
    UnsendableDecode,
    faulty_job,
)
from tests.pipeline.toy_jobs import Silent, write_words
from tests.pipeline.toy_stages import ToyDecode

pytestmark = pytest.mark.usefixtures("ray_of_two_cpus")


def failures(out: Path) -> dict[str, tuple[str, str, str]]:
    """Name of each failed input to stage, class and sentence."""
    return {
        Path(row["uri"]).stem: (row["stage"], row["error_class"], row["message"])
        for row in Manifest(out).table("failures").to_pylist()
        if row["segment_id"] is None
    }


def events(out: Path) -> list[dict[str, object]]:
    """Of all runs, in order."""
    logs = sorted((out / "log").glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(line) for path in logs for line in path.read_text().splitlines()]


class Looking(Silent):
    """A reporter that looks at the heartbeats whenever it is told something."""

    def __init__(self, out: Path) -> None:
        super().__init__()
        self.out = out
        self.seen: list[Heartbeat] = []

    def tick(self) -> None:
        self.seen += read_heartbeats(self.out)


def test_every_way_to_end_a_worker_is_named_with_its_stage_and_costs_one_input(
    tmp_path: Path,
) -> None:
    words = {"a": "good", "b": "kill", "c": "segfault", "d": "hold", "e": "eat", "f": "good"}
    inputs, out = write_words(tmp_path / "in", words), tmp_path / "out"
    run = RunSpec(workers=2, inputs_per_unit=2, stage_timeout_s=3.0, max_attempts=1)
    looking = Looking(out)
    run_job(faulty_job(inputs, out, run), looking)
    found = failures(out)
    assert {name: end[:2] for name, end in found.items()} == {
        "b": ("decode", "CRASH"),
        "c": ("decode", "CRASH"),
        "d": ("decode", "TIMEOUT"),
        "e": ("decode", "OOM_ITEM"),
    }
    assert "Segmentation fault" in found["c"][2]
    assert "stage 'decode' took longer than 3 s (run.stage_timeout_s)" in found["d"][2]
    assert status_of(out).done == 2
    row = Manifest(out).table("runs").to_pylist()[0]
    # Two units, largest first, hold the three that end a worker, and then each ends one alone.
    assert (row["workers_replaced"], row["workers_recycled"]) == (5, 0)
    working = [beat for beat in looking.seen if beat.unit]
    assert {beat.inputs for beat in working} == {1, 2}
    assert "decode" in {beat.stage for beat in working}
    assert not list((out / "workers").iterdir())
    told = [event["event"] for event in events(out)]
    assert told.count("worker_replaced") == told.count("given_up") == 5
    assert (told[0], told[-1]) == ("run_begun", "run_ended")


def test_a_stopped_worker_is_found_by_the_driver(tmp_path: Path) -> None:
    inputs, out = write_words(tmp_path / "in", {"a": "good", "b": "stop"}), tmp_path / "out"
    run_job(
        faulty_job(inputs, out, RunSpec(workers=1, item_timeout_s=12.0, max_attempts=1)), Silent()
    )
    stage, error_class, message = failures(out)["b"]
    assert (stage, error_class) == ("decode", "TIMEOUT")
    assert "no answer within 12 s" in message
    assert status_of(out).done == 1


def test_a_fault_of_ours_stops_the_job_blames_nobody_and_the_job_goes_on_when_mended(
    tmp_path: Path,
) -> None:
    inputs = write_words(tmp_path / "in", {f"m{i}": "model" for i in range(12)})
    out = tmp_path / "out"
    job = faulty_job(inputs, out, RunSpec(workers=2, breaker_inputs=4))
    with pytest.raises(JobStoppedError, match=r"4 of the last 4 .*UNEXPECTED.*'decode'.*no model"):
        run_job(job, Silent())
    stopped = status_of(out)
    assert (stopped.failed, stopped.pending) == (0, 12)
    assert events(out)[-1]["ending"] == "failed: JobStoppedError"
    (inputs / "model").write_text("")
    run_job(job, Silent())
    assert (status_of(out).done, status_of(out).failed) == (12, 0)


def test_workers_that_all_die_stop_the_job_and_their_units_are_not_held_against_them(
    tmp_path: Path,
) -> None:
    inputs, out = write_words(tmp_path / "in", {f"k{i}": "kill" for i in range(6)}), tmp_path / "o"
    job = faulty_job(inputs, out, RunSpec(workers=2, max_attempts=1, breaker_inputs=2))
    with pytest.raises(JobStoppedError, match="CRASH in stage 'decode'"):
        run_job(job, Silent())
    assert (status_of(out).failed, status_of(out).pending) == (0, 6)
    ledger = next((out / "attempts").iterdir()).read_text()
    assert [json.loads(line) for line in ledger.splitlines()][-2:] == [
        {"forgiven": True},
        {"closed": True},
    ]


def test_nothing_but_bad_audio_is_no_fault_of_ours(tmp_path: Path) -> None:
    inputs = write_words(tmp_path / "in", {f"b{i}": "bad" for i in range(12)})
    out = tmp_path / "out"
    run_job(faulty_job(inputs, out, RunSpec(workers=2, breaker_inputs=4)), Silent())
    assert (status_of(out).failed, status_of(out).pending) == (12, 0)


@pytest.mark.parametrize(
    ("decode", "error", "said"),
    [
        (NoModelDecode, EngineMissingError, r"stages.decode: .*FileNotFoundError: weights.bin"),
        (
            AbortingDecode,
            EngineMissingError,
            r"opening its engine ended the worker 2 times \(Aborted\)",
        ),
        (UnsendableDecode, PlanError, r"cpu worker cannot be started: .*weights.bin"),
    ],
)
def test_what_no_worker_can_do_ends_the_job_with_its_cause(
    tmp_path: Path, decode: type[ToyDecode], error: type[Exception], said: str
) -> None:
    inputs, out = write_words(tmp_path / "in", {"a": "good", "b": "good"}), tmp_path / "out"
    with pytest.raises(error, match=said):
        run_job(faulty_job(inputs, out, RunSpec(workers=1), decode), Silent())
    if (out / "job.json").exists():
        assert (status_of(out).failed, status_of(out).pending) == (0, 2)


def test_a_full_disk_stops_the_job_at_once_and_no_input_is_blamed(tmp_path: Path) -> None:
    inputs, out = write_words(tmp_path / "in", {"a": "full", "b": "good"}), tmp_path / "out"
    with pytest.raises(StorageError, match="the disk is full"):
        run_job(faulty_job(inputs, out), Silent())
    assert status_of(out).failed == 0


@pytest.mark.parametrize(
    ("run", "num_recycled"),
    [(RunSpec(workers=1, worker_max_units=2), 2), (RunSpec(workers=1, worker_max_rss_mb=220), 1)],
)
def test_a_worker_that_has_grown_is_replaced_between_units_and_no_work_is_lost(
    tmp_path: Path, run: RunSpec, num_recycled: int
) -> None:
    # Of six lengths, so that none has to be read for duplicates. Each leaves 40 MB with its worker.
    inputs = write_words(tmp_path / "in", {"n" * i: "keep" for i in range(1, 7)})
    out = tmp_path / "out"
    run_job(faulty_job(inputs, out, run), Silent())
    assert status_of(out).done == 6
    row = Manifest(out).table("runs").to_pylist()[0]
    assert row["workers_replaced"] == 0
    assert row["workers_recycled"] == num_recycled


def test_what_a_worker_started_goes_with_it(tmp_path: Path) -> None:
    inputs, out = write_words(tmp_path / "in", {"a": "orphan"}), tmp_path / "out"
    run_job(faulty_job(inputs, out, RunSpec(workers=1, max_attempts=1)), Silent())
    assert failures(out)["a"][1] == "CRASH"
    child = int((inputs / "child").read_text())
    deadline = time.monotonic() + 15
    while psutil.pid_exists(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not psutil.pid_exists(child)


def test_prometheus_finds_the_figures_of_a_run_with_ray_s_own(tmp_path: Path) -> None:
    inputs, out = write_words(tmp_path / "in", {"a": "good", "b": "bad"}), tmp_path / "out"
    job = faulty_job(inputs, out, RunSpec(workers=1))
    spec = job.spec.model_copy(update={"name": "counted"})
    run_job(Job(spec=spec, stages=job.stages, passes=job.passes), Silent())
    node = next(node for node in ray.nodes() if node["Alive"])
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    assert url.startswith("http://127.0.0.1:")
    deadline = time.monotonic() + 60  # Ray sends them every ten seconds
    found: dict[str, float] = {}
    while len(found) < 8 and time.monotonic() < deadline:
        time.sleep(1)
        text = httpx.get(url, trust_env=False).text
        ours = [line for line in text.splitlines() if 'job="counted"' in line]
        found = {_short(line): float(line.rpartition(" ")[2]) for line in ours}
    assert found["units_total"] == 2
    assert found["inputs_total done"] == found["inputs_total failed"] == 1
    assert found["failures_total decode NOT_AUDIO"] == 1
    assert found["audio_seconds_total"] == 10
    assert found["inputs_to_do"] == 0
    assert found["unit_seconds_count"] == 2
    assert found["stage_seconds_total decode"] > 0


def _short(line: str) -> str:
    """Name and tags of a line of Prometheus' text format."""
    name = line.partition("{")[0].removeprefix("ray_audiomill_")
    tags = dict(re.findall(r'(\w+)="([^"]*)"', line))
    return " ".join(
        [name, *(tags[key] for key in ("outcome", "stage", "error_class") if key in tags)]
    )


def test_logs_hold_ids_and_no_uri(tmp_path: Path) -> None:
    inputs = write_words(tmp_path / "in", {"secretname": "bad", "other": "good"})
    out = tmp_path / "out"
    run_job(faulty_job(inputs, out, RunSpec(workers=1)), Silent())
    told = events(out)
    assert {"run_begun", "sweep_begun", "unit_committed", "run_ended"} <= {e["event"] for e in told}
    begun = told[0]
    assert isinstance(begun["versions"], dict)
    assert begun["run"] == Manifest(out).table("runs").to_pylist()[0]["run_id"]
    failed = [e["failures"] for e in told if e["event"] == "unit_committed" and e["failures"]]
    source = next(
        r for r in Manifest(out).table("recordings").to_pylist() if r["outcome"] == "failed"
    )
    blamed = {"input": source["source_id"], "stage": "decode", "error_class": "NOT_AUDIO"}
    assert failed == [[blamed]]
    for path in [*(out / "log").iterdir(), *(out / "attempts").iterdir()]:
        assert "secretname" not in path.read_text()
        assert "throw it away" not in path.read_text()
