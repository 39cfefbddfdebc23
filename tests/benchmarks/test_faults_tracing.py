"""Faults at system calls: strace and failpoints see the same ones; what is not met is named."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.faults.__main__ import main
from benchmarks.faults.compare import Difference
from benchmarks.faults.crashes import KILL, Fault, _wrong_end, meet, too_many
from benchmarks.faults.failpoints import Failpoints, usable_tracer
from benchmarks.faults.family import Asked, Report
from benchmarks.faults.step_server import DONE, step_server
from benchmarks.faults.steps import STEPS
from benchmarks.faults.tracing import NotHereError, Point, Strace, Tracer, num_calls, points


def installed(name: str) -> str | None:
    """`shutil.which` of a machine without strace."""
    return None if name == "strace" else WHICH(name)


WHICH = shutil.which


def tracer_here(kind: str, folder: Path) -> Tracer:
    try:
        return Strace() if kind == "strace" else Failpoints(folder / "failpoints")
    except NotHereError as error:
        pytest.skip(str(error))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An output on which the step `collect` can be done, and a copy of it."""
    STEPS["collect"].prepare(tmp_path / "now" / "out")
    shutil.copytree(tmp_path / "now", tmp_path / "before")
    return tmp_path


def test_points_of_a_trace_are_the_calls_that_write(tmp_path: Path) -> None:
    log = tmp_path / "trace"
    log.write_text(
        '7 openat(AT_FDCWD, "a", O_RDONLY) = 3\n'
        '7 openat(AT_FDCWD, "b", O_WRONLY|O_CREAT, 0644) = 4\n'
        '8 write(4, "x", 1 <unfinished ...>\n'
        '7 write(4, "y", 1) = 1\n'
        "8 <... write resumed>) = 1\n"
        '7 write(4, "z", 1) = 1\n'
        "7 +++ exited with 0 +++\n"
    )
    assert points(log) == [Point("openat", 2), Point("write", 1), Point("write", 2)]
    assert num_calls(log) == {"openat": 1, "write": 3}
    assert Point("write", 2).inject(KILL) == "write:signal=SIGKILL:when=2"


def test_failpoints_see_every_call_that_strace_sees(tmp_path: Path) -> None:
    """One process, watched both ways: what is made past the C library would be in one log only."""
    strace, failpoints = tracer_here("strace", tmp_path), tracer_here("failpoints", tmp_path)

    class Both:
        by = "both"
        environment = failpoints.environment

        @contextmanager
        def traced(self, pid: int, log: Path, inject: str | None = None) -> Iterator[None]:
            with strace.traced(pid, log), failpoints.traced(pid, log.with_name("inside")):
                yield

    with step_server(Both()) as server:
        for step in STEPS:
            out = tmp_path / step / "out"
            STEPS[step].prepare(out)
            assert server.do(step, out, tmp_path / "outside", None) == (DONE, 0)
            assert num_calls(tmp_path / "inside") == num_calls(tmp_path / "outside"), step
            assert len(points(tmp_path / "inside")) > 10


@pytest.mark.parametrize("kind", ["strace", "failpoints"])
def test_a_fault_is_met_where_it_is_put_or_said_to_be_missed(
    asked: Asked, folder: Path, kind: str
) -> None:
    met = [(Point("unlink", 2), KILL), (Point("fsync", 1), "error=EIO")]
    never = (Point("unlink", 9999), KILL)
    report, missed = Report(wanted=len(met) + 1), list[str]()
    with step_server(tracer_here(kind, folder)) as server:
        for point, what in [*met, never]:
            meet(asked, report, missed, Fault(server, "collect", folder, point, what))
        outcome = Fault(server, "collect", folder, met[0][0], "error=ENOSPC").tried()
    assert (outcome.is_met, outcome.wrong) == (True, [])
    assert missed == ["collect, unlink 9999, signal=SIGKILL"]
    assert (report.runs, report.wanted, report.failures) == (2, 2, [])
    assert report.difference == Difference()


def test_a_few_missed_faults_are_the_threads_and_more_are_ours() -> None:
    assert [too_many(missed, 12) for missed in (0, 1, 2)] == [False, False, True]
    assert [too_many(missed, 990) for missed in (1, 10, 11)] == [False, False, True]


def test_an_end_that_is_not_the_fault_s_is_seen() -> None:
    assert not [*_wrong_end("", -9, KILL)]
    assert [*_wrong_end("done", 0, KILL)]
    assert not [*_wrong_end("done", 0, None)]
    assert [*_wrong_end("", -9, None)]
    assert [*_wrong_end("StorageError: full", 0, None)]
    assert not [*_wrong_end("StorageError: full", 0, "error=EIO")]
    assert not [*_wrong_end("done", 0, "error=EIO")]
    assert [*_wrong_end("OSError: full", 0, "error=EIO")]
    assert [*_wrong_end("", 1, "error=EIO")]


def test_where_nothing_may_trace_the_failpoints_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracer_here("failpoints", tmp_path)
    monkeypatch.setattr("benchmarks.faults.tracing.shutil.which", installed)
    assert main(["--short", "--json", "--only", "crash_points"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["crash_points"] > 10
    assert figures["families"]["crash_points"]["by"] == "failpoints"
    assert len(figures["families"]["crash_points"]["missed"]) <= 1


def test_without_strace_and_a_compiler_it_is_said_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.faults.tracing.shutil.which", lambda name: None)
    with pytest.raises(NotHereError, match=r"strace is not installed .*no C compiler"):
        usable_tracer(tmp_path / "failpoints")


def test_what_is_preloaded_already_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracer_here("failpoints", tmp_path)
    monkeypatch.setenv("LD_PRELOAD", str(tmp_path / "failpoints" / "failpoints.so"))
    ours, _, others = Failpoints(tmp_path / "more").environment["LD_PRELOAD"].partition(":")
    assert ours == str(tmp_path / "more" / "failpoints.so")
    assert others == str(tmp_path / "failpoints" / "failpoints.so")
