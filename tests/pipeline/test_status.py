"""What `audiomill status` says of workers, from the heartbeats that they left."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.cli import main
from pipeline.heartbeat import STUCK_AFTER_S, HeartbeatFile
from tests.pipeline.small_output import make_output


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_output(tmp_path_factory.mktemp("status"))


@pytest.fixture
def beat(out: Path) -> Iterator[HeartbeatFile]:
    """Of this process, which lives."""
    mine = HeartbeatFile(out, "driver", "cpu-1")
    yield mine
    os.close(mine.descriptor)


def call_since(beat: HeartbeatFile, stage: str, seconds: float, **changed: object) -> None:
    """Writes what a worker does whose call began so long ago."""
    beat.holds("unit-7", 3)
    beat.call(stage)
    note = os.pread(beat.descriptor, os.fstat(beat.descriptor).st_size, 0)
    facts = json.loads(note) | {"since": time.time() - seconds} | changed
    os.pwrite(beat.descriptor, json.dumps(facts).encode().ljust(len(note)), 0)


@pytest.mark.parametrize(
    ("stage", "seconds", "started", "state"),
    [
        ("decode", STUCK_AFTER_S + 60, None, "stuck"),
        ("decode", STUCK_AFTER_S - 60, None, "working"),
        ("", STUCK_AFTER_S + 60, None, "working"),
        ("decode", STUCK_AFTER_S + 60, -1, "gone"),
    ],
)
def test_a_call_that_takes_too_long_is_shown_as_stuck(
    out: Path,
    beat: HeartbeatFile,
    capsys: pytest.CaptureFixture[str],
    stage: str,
    seconds: float,
    started: int | None,
    state: str,
) -> None:
    call_since(beat, stage, seconds, **({} if started is None else {"started": started}))
    assert main(["status", str(out)]) == 0
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("worker ")]
    assert line.startswith(f"worker cpu-1 (process {os.getpid()} on ")
    assert f"): {state} {stage} for " in line
    assert main(["status", str(out), "--json"]) == 0
    (worker,) = json.loads(capsys.readouterr().out)["workers"]
    assert (worker["state"], worker["unit"], worker["inputs"]) == (state, "unit-7", 3)
    assert worker["seconds"] >= seconds
