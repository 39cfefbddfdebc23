"""A family that hangs is killed and told, wherever it waits, and the others go on."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import pytest

from benchmarks.faults.__main__ import FAMILIES, Family, main
from benchmarks.faults.driver import Driver
from benchmarks.faults.family import Asked, Report
from benchmarks.faults.hang import processes_below
from benchmarks.faults.step_server import step_server
from benchmarks.toy_job import ToyCluster


def wait_for_a_driver(asked: Asked) -> Report:
    nowhere = ToyCluster("nowhere", dict(os.environ))
    with Driver.start(nowhere, asked.folder / "log") as driver:
        os.kill(driver.process.pid, signal.SIGSTOP)
        driver.wait_for("up")
    return Report()


def wait_for_a_step(asked: Asked) -> Report:
    class Untraced:
        by = "nobody"
        environment: Mapping[str, str] = MappingProxyType({})

        @contextmanager
        def traced(self, pid: int, log: Path, inject: str | None = None) -> Iterator[None]:
            yield

    with step_server(Untraced()) as server:
        os.kill(server.process.pid, signal.SIGSTOP)
        server.do("commit", asked.folder / "out", asked.folder / "log", None)
    return Report()


def wait_for_what_it_says(asked: Asked) -> Report:
    # What it started holds the pipe too: it is not enough to kill the child.
    sleeps = "import subprocess; subprocess.run(['sleep', '1000'])"
    subprocess.run([sys.executable, "-c", sleeps], stdout=subprocess.PIPE, check=False)
    return Report()


def wait_for_a_lock(asked: Asked) -> Report:
    """As a killed process may leave one, in this process."""
    with (asked.folder / "lock").open("w") as one, (asked.folder / "lock").open("w") as other:
        fcntl.flock(one, fcntl.LOCK_EX)
        fcntl.flock(other, fcntl.LOCK_EX)
    return Report()


@pytest.mark.parametrize(
    "wait", [wait_for_a_driver, wait_for_a_step, wait_for_what_it_says, wait_for_a_lock]
)
def test_what_hangs_is_killed_and_a_failure_and_the_others_go_on(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    wait: Callable[[Asked], Report],
) -> None:
    before = processes_below()
    monkeypatch.setattr("benchmarks.faults.hang.GRACE_S", 1.0)
    monkeypatch.setattr("benchmarks.faults.races.run", wait)
    monkeypatch.setattr("benchmarks.faults.schedules.run", lambda _: Report(runs=1, wanted=1))
    monkeypatch.setitem(FAMILIES, "races", Family("races:run", 1, 1))
    assert main(["--short", "--json", "--only", "races", "--only", "simulation"]) == 1
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["families"]["races"]["num_failures"] == 1
    failure = figures["families"]["races"]["failures"][0]
    assert "HangError: it hung" in failure
    assert f"in {wait.__name__}" in failure
    assert (figures["simulation_schedules"], figures["failures"]) == (1, 1)
    assert processes_below() == before


def test_a_driver_is_gone_after_an_error(tmp_path: Path) -> None:
    nowhere = ToyCluster("nowhere", dict(os.environ))
    with pytest.raises(ValueError, match="ours"), Driver.start(nowhere, tmp_path / "log") as driver:
        raise ValueError("ours")
    assert driver.process.returncode == -signal.SIGKILL
