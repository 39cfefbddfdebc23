"""Running a job on real Ray: accounting, resume, dead and hung workers."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.manifest import Manifest
from pipeline.output_lock import locked
from pipeline.run import run_job
from pipeline.status import status_of
from pipeline.verify import verify
from schemas.errors import JobStoppedError, OutputError
from schemas.job import RunSpec
from tests.pipeline.toy_jobs import Silent, toy_job, write_words

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("ray_of_two_cpus")
Row = dict[str, object]


def rows(out: Path, table: str) -> list[Row]:
    found: list[Row] = Manifest(out).table(table).to_pylist()
    return sorted(found, key=str)


def test_one_dead_and_one_hung_worker_cost_their_own_input_and_nothing_else(
    tmp_path: Path,
) -> None:
    words = {f"good{i}": "good" for i in range(6)}
    words |= {"poison": "kill", "stuck": "hang", "broken": "bad"}
    inputs = write_words(tmp_path / "in", words)
    job = toy_job(
        inputs,
        tmp_path / "out",
        RunSpec(workers=2, inputs_per_unit=3, stage_timeout_s=4.0, max_attempts=1),
    )
    run_job(job, Silent())
    status = status_of(tmp_path / "out")
    assert (status.inputs, status.done, status.failed, status.pending) == (9, 6, 3, 0)
    classes = {
        Path(str(row["uri"])).stem: row["error_class"]
        for row in rows(tmp_path / "out", "failures")
        if row["segment_id"] is None
    }
    assert classes == {"poison": "CRASH", "stuck": "TIMEOUT", "broken": "NOT_AUDIO"}


def test_an_interrupted_run_goes_on_where_it_stopped_and_ends_like_one_that_was_not(
    tmp_path: Path,
) -> None:
    inputs = write_words(tmp_path / "in", {f"n{i}": "good" for i in range(8)})
    with pytest.raises(KeyboardInterrupt):
        run_job(toy_job(inputs, tmp_path / "stopped"), Silent(stop_after=3))
    half = status_of(tmp_path / "stopped")
    assert verify(tmp_path / "stopped").ok
    assert half.done == 3
    assert half.inputs == half.done + half.rejected + half.failed + half.pending
    second = Silent()
    run_job(toy_job(inputs, tmp_path / "stopped"), second)
    assert sum(unit.num_inputs for unit in second.units) == 5
    run_job(toy_job(inputs, tmp_path / "whole", RunSpec(workers=1)), Silent())
    for table in ("recordings", "segments", "turns", "failures"):
        assert rows(tmp_path / "stopped", table) == rows(tmp_path / "whole", table)
    endings = [row["ending"] for row in rows(tmp_path / "stopped", "runs")]
    assert sorted(map(str, endings)) == ["finished", "interrupted"]


def test_a_finished_job_runs_again_without_work_and_another_job_is_refused(
    tmp_path: Path,
) -> None:
    inputs = write_words(tmp_path / "in", {"a": "good", "b": "silent"})
    run_job(toy_job(inputs, tmp_path / "out"), Silent())
    again = Silent()
    run_job(toy_job(inputs, tmp_path / "out"), again)
    assert again.units == []
    write_words(tmp_path / "in", {"c": "good"})
    with pytest.raises(OutputError, match=r"1 new \(the first: .*c\.txt\)"):
        run_job(toy_job(inputs, tmp_path / "out"), Silent())
    assert status_of(tmp_path / "out").inputs == 2


def test_two_runs_never_work_on_one_output(tmp_path: Path) -> None:
    inputs = write_words(tmp_path / "in", {"a": "good"})
    with locked(tmp_path / "out"), pytest.raises(OutputError, match="another run is at work"):
        run_job(toy_job(inputs, tmp_path / "out"), Silent())
    run_job(toy_job(inputs, tmp_path / "out"), Silent())
    assert status_of(tmp_path / "out").done == 1


def test_a_run_that_was_killed_while_it_began_or_started_over_is_no_dead_end(
    tmp_path: Path,
) -> None:
    inputs, out = write_words(tmp_path / "in", {"a": "good"}), tmp_path / "out"
    out.mkdir()
    Manifest.create(out)
    (out / "inputs-0-0123456789ab.parquet").write_text("of another listing")
    (out / ".inputs.123.part").write_text("torn")
    run_job(toy_job(inputs, out), Silent())
    assert (status_of(out).done, status_of(out).runs) == (1, 1)
    (out / "job.json").unlink()
    with pytest.raises(OutputError, match=r"holds tables but no job\.json.*--fresh"):
        run_job(toy_job(inputs, out), Silent())
    run_job(toy_job(inputs, out), Silent(), fresh=True)
    assert (status_of(out).done, status_of(out).runs) == (1, 1)


def test_audio_crosses_between_workers_only_where_the_resource_changes(tmp_path: Path) -> None:
    """A Ray of its own, because it says that it has a GPU, which the shared one has not."""
    inputs = write_words(tmp_path / "in", {f"n{i}": "good" for i in range(4)} | {"b": "bad"})
    script = (
        "import sys; from pathlib import Path\n"
        "from pipeline.ray_cluster import start_ray\n"
        "from pipeline.run import run_job\n"
        "from tests.pipeline.toy_jobs import Silent, toy_gpu_job\n"
        "start_ray(num_cpus=3, num_gpus=1)\n"
        "run_job(toy_gpu_job(Path(sys.argv[1]), Path(sys.argv[2])), Silent())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(inputs), str(tmp_path / "gpu")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run_job(toy_job(inputs, tmp_path / "cpu"), Silent())
    for table in ("recordings", "segments", "failures"):
        assert rows(tmp_path / "gpu", table) == rows(tmp_path / "cpu", table)
    run = Manifest(tmp_path / "gpu").table("runs").to_pylist()[0]
    assert (run["workers"], run["gpus"]) == (3, 1.0)


def test_exact_duplicates_fall_out_whatever_they_are_called(tmp_path: Path) -> None:
    inputs = write_words(tmp_path / "in", {"a": "good"})
    (inputs / "z-copy.txt").write_bytes((inputs / "a.txt").read_bytes())
    (inputs / "empty.txt").write_text("")
    (inputs / "also-empty.txt").write_text("")
    (inputs / "leads-nowhere.txt").symlink_to("nothing")
    (inputs / "y-same-size.txt").write_text("good x")
    run_job(toy_job(inputs, tmp_path / "out"), Silent())
    found = {Path(str(r["uri"])).name: r for r in rows(tmp_path / "out", "recordings")}
    assert found["z-copy.txt"]["outcome"] == "rejected"
    assert found["z-copy.txt"]["reason"] == "exact_duplicate"
    assert found["z-copy.txt"]["duplicate_of"] == found["a.txt"]["source_id"]
    assert found["a.txt"]["outcome"] == found["y-same-size.txt"]["outcome"] == "done"
    for name in ("empty.txt", "also-empty.txt", "leads-nowhere.txt"):
        assert found[name]["outcome"] == "failed", "what holds no bytes repeats nothing"
    assert verify(tmp_path / "out").ok


def test_a_store_that_is_away_while_duplicates_are_settled_fails_no_input(tmp_path: Path) -> None:
    inputs, out = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    for index in range(10):
        (inputs / f"{index}.txt").symlink_to(tmp_path / "away")
    job = toy_job(inputs, out, RunSpec(workers=2, breaker_inputs=10))
    with pytest.raises(JobStoppedError, match="failed with UNREADABLE in stage 'fetch'"):
        run_job(job, Silent())
    assert (status_of(out).failed, status_of(out).pending) == (0, 10)
