"""One process, `torchrun` and Ray Train run the same function to the same losses."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.cli import main
from tests.jobs.made_output import make_output
from tests.jobs.test_train_command import ROOT, arguments, losses_of

STEPS = "steps=4"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_output(tmp_path_factory.mktemp("job") / "out")


@pytest.fixture(scope="module")
def alone(out: Path, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    folder = tmp_path_factory.mktemp("alone")
    assert main(["train", *arguments(out, folder, STEPS)]) == 0
    return losses_of(folder)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_torchrun(out: Path, alone: list[float], tmp_path: Path) -> None:
    torchrun = ("torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m")
    ended = run(*torchrun, "jobs.cli", "train", *arguments(out, tmp_path / "run", STEPS))
    assert ended.returncode == 0, ended.stderr
    assert losses_of(tmp_path / "run") == pytest.approx(alone, rel=1e-4)
    assert ended.stdout.count(f"{tmp_path}/run/model") == 1, "one of them speaks"


def test_ray_train(out: Path, alone: list[float], tmp_path: Path) -> None:
    asked = ("jobs.cli", "train", "--ray-workers", "2")
    ended = run(*asked, *arguments(out, tmp_path / "run", STEPS))
    assert ended.returncode == 0, ended.stderr
    assert losses_of(tmp_path / "run") == pytest.approx(alone, rel=1e-4)
    assert f"{tmp_path}/run/model" in ended.stdout


def test_what_stops_a_worker_of_ray_train_is_said_in_one_line(out: Path, tmp_path: Path) -> None:
    asked = ("jobs.cli", "train", "--ray-workers", "1")
    ended = run(*asked, *arguments(out, tmp_path / "run", "data.context_groups=1000000"))
    assert ended.returncode == 2
    assert "data.context_groups is 1000000" in ended.stderr.splitlines()[-1]


def test_an_interrupt_of_ray_train_saves_first(out: Path, tmp_path: Path) -> None:
    target = tmp_path / "run"
    asked = arguments(out, target, "steps=2000", "run.checkpoint_every=2000")
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs.cli", "train", "--ray-workers", "1", *asked],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while process.poll() is None and not _has_steps(target / "log.jsonl"):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130, said
    (checkpoint,) = (target / "checkpoints").iterdir()
    assert checkpoint.name == f"step-{len(losses_of(target)):010d}"
    assert not (target / "stop").exists()


def _has_steps(log: Path) -> bool:
    return log.exists() and log.stat().st_size > 0
