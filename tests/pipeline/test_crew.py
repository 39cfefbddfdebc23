"""Workers that something outside ends while they start, on real Ray: made up for, or given up."""

import os
import signal
from pathlib import Path

import pytest

from pipeline import lost_starts
from pipeline.crew import Crew
from pipeline.fit import Pool
from pipeline.manifest import Manifest
from pipeline.run import run_job
from pipeline.status import status_of
from schemas.errors import PlanError
from schemas.job import RunSpec, TokenizeSpec
from tests.pipeline.faulty_stages import faulty_job
from tests.pipeline.test_engine import events
from tests.pipeline.toy_jobs import Silent, ToyTokenizer, open_toy_tokenizer, write_words

HOURS_S = 10_000.0


class DeadlyOpener:
    """Goes with the job to its workers, and kills some of those that unpack it: by their number."""

    def __init__(self, log: Path, *victims: int) -> None:
        self.log = log
        self.victims = victims

    def __reduce__(self) -> tuple[object, ...]:
        return _unpacked, (self.log, *self.victims)

    def __call__(self, spec: TokenizeSpec) -> ToyTokenizer:
        return open_toy_tokenizer(spec)


def _unpacked(log: Path, *victims: int) -> DeadlyOpener:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(descriptor, b".")
    # An append moves to the end of what this process wrote, so it tells the number of this start.
    if os.lseek(descriptor, 0, os.SEEK_CUR) in victims:
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(descriptor)
    return DeadlyOpener(log, *victims)


def num_lost(out: Path) -> int:
    return sum(told["event"] == "worker_start_lost" for told in events(out))


@pytest.mark.usefixtures("ray_of_two_cpus")
def test_workers_that_are_killed_while_they_start_are_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost_starts, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(lost_starts, "MOST_ROUNDS", 4)
    inputs, out = write_words(tmp_path / "in", {"a": "good", "b": "bad"}), tmp_path / "out"
    opener = DeadlyOpener(tmp_path / "starts", 1, 2, 3)
    run_job(faulty_job(inputs, out, RunSpec(workers=2)), Silent(), open_tokenizer=opener)
    assert (status_of(out).done, status_of(out).failed, status_of(out).pending) == (1, 1, 0)
    assert (tmp_path / "starts").stat().st_size == 5


@pytest.mark.usefixtures("ray_of_two_cpus")
def test_starts_that_are_always_lost_end_the_job_and_say_where_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost_starts, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(lost_starts, "MOST_ROUNDS", 3)
    inputs, out = write_words(tmp_path / "in", {"a": "good"}), tmp_path / "out"
    opener = DeadlyOpener(tmp_path / "starts", *range(100))
    with pytest.raises(PlanError, match=r"cpu worker cannot be .* 3 times in a row .*memory\?"):
        run_job(faulty_job(inputs, out, RunSpec(workers=1)), Silent(), open_tokenizer=opener)
    assert (tmp_path / "starts").stat().st_size == 3


@pytest.mark.usefixtures("ray_of_two_cpus")
def test_others_work_on_while_a_lost_start_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost_starts, "FIRST_WAIT_S", HOURS_S)
    monkeypatch.setattr(lost_starts, "LONGEST_WAIT_S", HOURS_S)
    words = {"a": "segfault"} | {f"n{i}": "wait" for i in range(6)}
    inputs, out = write_words(tmp_path / "in", words), tmp_path / "out"
    run = RunSpec(workers=2, max_attempts=1, inputs_per_unit=1)
    opener = DeadlyOpener(tmp_path / "starts", 3)  # the one after the input that ends a worker

    class Letting(Silent):
        def tick(self) -> None:
            if num_lost(out):
                (inputs / "go").touch()

    run_job(faulty_job(inputs, out, run), Letting(), open_tokenizer=opener)
    assert (status_of(out).done, status_of(out).failed) == (6, 1)
    assert Manifest(out).table("runs").to_pylist()[0]["workers_replaced"] == 1
    (lost,) = [told for told in events(out) if told["event"] == "worker_start_lost"]
    assert lost["wait_s"] == HOURS_S
    assert "process has died" in str(lost["cause"])


@pytest.mark.usefixtures("ray_of_two_cpus")
def test_while_others_of_its_pool_work_a_start_may_be_lost_more_often_than_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost_starts, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(lost_starts, "MOST_ROUNDS", 2)
    words = {"a": "segfault"} | {f"n{i}": "wait" for i in range(2)}
    inputs, out = write_words(tmp_path / "in", words), tmp_path / "out"
    run = RunSpec(workers=2, max_attempts=1, inputs_per_unit=1)
    opener = DeadlyOpener(tmp_path / "starts", 3, 4, 5)

    class Letting(Silent):
        def tick(self) -> None:
            if num_lost(out) == 3:
                (inputs / "go").touch()

    run_job(faulty_job(inputs, out, run), Letting(), open_tokenizer=opener)
    assert (status_of(out).done, status_of(out).failed) == (2, 1)


@pytest.mark.usefixtures("ray_of_two_cpus")
def test_a_worker_that_cannot_be_prepared_is_no_lost_start_and_its_cause_is_told(
    tmp_path: Path,
) -> None:
    pool = Pool("cpu", 1, 1, 0, 100)
    nowhere = {"working_dir": "gcs://_ray_pkg_nowhere.zip"}
    crew = Crew((pool,), RunSpec(max_attempts=2), "d", tmp_path, (), nowhere, lambda _: None)
    with pytest.raises(PlanError, match=r"cpu worker cannot be started: .*_ray_pkg_nowhere"):
        crew.start()
    crew.end()
