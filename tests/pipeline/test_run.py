"""Running a job on real Ray: accounting, resume, dead and hung workers."""

from pathlib import Path

import pytest

from pipeline.manifest import Manifest
from pipeline.run import run_job
from pipeline.status import status_of
from schemas.errors import OutputError
from schemas.job import RunSpec
from tests.pipeline.toy_jobs import Silent, toy_job, write_words

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
        RunSpec(workers=2, inputs_per_unit=3, item_timeout_s=4.0, max_attempts=1),
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


def test_exact_duplicates_fall_out_whatever_they_are_called(tmp_path: Path) -> None:
    inputs = write_words(tmp_path / "in", {"a": "good"})
    (inputs / "z-copy.txt").write_bytes((inputs / "a.txt").read_bytes())
    (inputs / "y-same-size.txt").write_text("good x")
    run_job(toy_job(inputs, tmp_path / "out"), Silent())
    found = {Path(str(r["uri"])).name: r for r in rows(tmp_path / "out", "recordings")}
    assert found["z-copy.txt"]["outcome"] == "rejected"
    assert found["z-copy.txt"]["reason"] == "exact_duplicate"
    assert found["z-copy.txt"]["duplicate_of"] == found["a.txt"]["source_id"]
    assert found["a.txt"]["outcome"] == found["y-same-size.txt"]["outcome"] == "done"
