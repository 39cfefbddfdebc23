"""The watchdog and the heartbeat of a worker, in a process of its own that is really ended."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.heartbeat import (
    STUCK_AFTER_S,
    HeartbeatFile,
    clear_heartbeats,
    last_words,
    path_of,
    read_heartbeat,
    read_heartbeats,
)
from pipeline.watchdog import is_timeout, signal_said

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import ctypes, os, sys, time
from pathlib import Path
from pipeline.heartbeat import HeartbeatFile
from pipeline.watchdog import Watchdog
watchdog = Watchdog(float(sys.argv[2]), HeartbeatFile(Path(sys.argv[1]), "driver", "cpu-1"))
with watchdog.unit("unit", 3):
    watchdog.call("vad")
    watchdog.call("asr@second", opening=True)
    {then}
"""


def run(out: Path, then: str, limit_s: float = 1.0) -> int:
    script = [sys.executable, "-c", SCRIPT.format(then=then), str(out), str(limit_s)]
    return subprocess.run(script, cwd=ROOT, check=False, timeout=120).returncode


@pytest.mark.parametrize(
    "then", ["time.sleep(1000)", "ctypes.PyDLL(None).sleep(1000)", "\n    while True: pass"]
)
def test_a_call_that_takes_too_long_is_ended_whatever_holds_it(tmp_path: Path, then: str) -> None:
    assert run(tmp_path, then) == 1
    path = path_of(tmp_path, "driver", "cpu-1")
    assert is_timeout(last_words(path))
    beat = read_heartbeat(path)
    assert beat is not None
    assert (beat.unit, beat.inputs, beat.stage, beat.opening) == ("unit", 3, "asr@second", True)
    assert beat.is_gone(tmp_path)


def test_a_call_has_its_whole_time_however_many_went_before_it(tmp_path: Path) -> None:
    calls = "[(watchdog.call(str(n)), time.sleep(0.5)) for n in range(5)]"
    assert run(tmp_path, calls, limit_s=2.0) == 0
    beat = read_heartbeat(path_of(tmp_path, "driver", "cpu-1"))
    assert beat is not None
    assert (beat.unit, beat.stage) == ("", "")


@pytest.mark.parametrize(
    "then", ["pass\ntime.sleep(2.5)", "watchdog.call('write', limited=False); time.sleep(2.5)"]
)
def test_neither_rest_nor_a_call_without_limit_is_ended(tmp_path: Path, then: str) -> None:
    assert run(tmp_path, then) == 0


def test_a_crash_says_which_signal_it_was(tmp_path: Path) -> None:
    assert run(tmp_path, "ctypes.string_at(0)") == -11
    said = last_words(path_of(tmp_path, "driver", "cpu-1"))
    assert signal_said(said) == "Segmentation fault"
    assert not is_timeout(said)
    assert signal_said("") == ""


def test_a_heartbeat_is_read_while_it_is_written_and_goes_stale_with_its_process(
    tmp_path: Path,
) -> None:
    mine = HeartbeatFile(tmp_path, "driver", "cpu-1")
    mine.holds("unit", 2)
    mine.call("x" * 400)  # a long label must not break the file
    (beat,) = read_heartbeats(tmp_path)
    assert (beat.worker, beat.pid, beat.stage) == ("cpu-1", os.getpid(), "x" * 100)
    assert not beat.is_gone(tmp_path)
    assert not beat.is_stuck()
    assert replace(beat, since=beat.since - STUCK_AFTER_S - 1).is_stuck()
    assert not replace(beat, since=0.0, stage="").is_stuck()
    assert replace(beat, started=beat.started + 1).is_gone(tmp_path)  # its pid was used again
    assert replace(beat, host="elsewhere").is_gone(tmp_path)  # its driver holds no lock
    clear_heartbeats(tmp_path, "other")
    assert read_heartbeats(tmp_path)
    clear_heartbeats(tmp_path, "driver")
    assert read_heartbeats(tmp_path) == []
    os.close(mine.descriptor)


def test_a_file_that_is_no_heartbeat_is_none(tmp_path: Path) -> None:
    path = tmp_path / "workers" / "x.json"
    path.parent.mkdir()
    for content in (b"", b"{", b"[]", b'{"worker": 1}', b"\xff\xfe"):
        path.write_bytes(content)
        assert read_heartbeats(tmp_path) == []
