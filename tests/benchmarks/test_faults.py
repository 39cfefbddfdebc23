"""The benchmark of faults sees what is wrong, and finds nothing in its shortest form."""

import io
import json
import socket
import time
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.faults.__main__ import FAMILIES, Family, main, summary
from benchmarks.faults.chain import listener
from benchmarks.faults.compare import Difference, difference
from benchmarks.faults.corpus import num_hangs, sample
from benchmarks.faults.corpus import run as run_corpus
from benchmarks.faults.family import Asked, Report
from benchmarks.faults.lures import CANARY, read_all, references
from benchmarks.faults.soak import too_much
from benchmarks.faults.steps import STEPS, UNITS, problems
from benchmarks.malformed.check import check_rows
from benchmarks.malformed.kinds import KINDS
from pipeline.files import write_parquet
from pipeline.manifest import Manifest
from schemas.errors import ItemError
from schemas.manifest import TABLES
from tests.pipeline.manifest_rows import failure

ROWS = [{"segment_id": name, "shard": "s", "num_frames": 7} for name in "abc"]
LEAST_RUNS = {
    "worker_kills": 4,
    "driver_kills": 2,
    "races": 1,
    "crash_points": 11,
    "disk_errors": 4,
    "full_disk": 1,
    "damage": 13,
    "corpus": 40,
    "lures": 50,
    "simulation": 300,
    "overhead": 1,
    "soak": 1,
}

WRONG = (
    *("lost", "duplicated", "phantom", "changed", "unexpected", "hangs", "open", "connections"),
    *("violations", "processes_left"),
)


@pytest.mark.parametrize(
    ("found", "wrong"),
    [
        (ROWS, Difference()),
        (ROWS[::-1], Difference()),
        (ROWS[1:], Difference(lost=1)),
        ([*ROWS, ROWS[0], ROWS[0]], Difference(duplicated=2)),
        ([*ROWS, {**ROWS[0], "segment_id": "d"}], Difference(phantom=1)),
        ([*ROWS[1:], {**ROWS[0], "num_frames": 8}], Difference(changed=1)),
        ([*ROWS[1:], {**ROWS[0], "segment_id": "d"}], Difference(lost=1, phantom=1)),
        ([*ROWS, {**ROWS[0], "num_frames": 8}], Difference(duplicated=1)),
    ],
)
def test_the_set_check_tells_lost_from_twice_from_never_there(
    found: list[dict[str, Any]], wrong: Difference
) -> None:
    apart = difference({"tokens": ROWS}, {"tokens": found})
    assert apart == wrong
    assert bool(apart) == (found not in (ROWS, ROWS[::-1]))


@pytest.mark.parametrize("name", STEPS)
def test_a_step_leads_from_one_whole_state_to_another(tmp_path: Path, name: str) -> None:
    step, out = STEPS[name], tmp_path / "out"
    step.prepare(out)
    assert problems(step, out, done=False) == ([], Difference())
    if step.units != step.units_before or step.no_garbage:
        assert problems(step, out, done=True)[0]
    step.do(out)
    assert problems(step, out, done=True) == ([], Difference())
    step.do(out)
    assert problems(step, out, done=True) == ([], Difference())


def test_what_is_half_there_is_seen(tmp_path: Path) -> None:
    step, out = STEPS["commit"], tmp_path / "out"
    step.prepare(out)
    step.do(out)
    store = Manifest(out).store
    victim = out / sorted(store.committed_files())[0].name
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-1])
    assert problems(step, out, done=True)[0] == [
        f"{victim.relative_to(out).as_posix()} is committed and not whole"
    ]
    victim.write_bytes(whole)
    table = TABLES["failures"].to_arrow([failure("x.wav", "decode", "CRASH", "it died")])
    file = write_parquet(table, out, "manifest/table=failures", UNITS[2], 0)
    Manifest(out).commit("other", [file], 0)
    assert problems(step, out, done=True) == (["1 phantom"], Difference(phantom=1))
    (out / "job.json").unlink()
    assert problems(step, out, done=True)[0] == ["it is no output any more"]


def test_a_report_says_how_sure_it_is_and_what_it_did_not_do(asked: Asked) -> None:
    sure = Report(runs=300, wanted=300).to_json(asked, 1.0)
    assert (sure["num_failures"], sure["failures_below"]) == (0, 0.01)
    assert sure["again"] == "python -m benchmarks.faults --short --only tests --seed 3"
    cut = Report(runs=2, wanted=3).to_json(asked, 1.0)
    assert cut["failures"] == ["2 of 3 in the time there was"]
    assert cut["failures_below"] is None
    assert Report(failures=["x"], runs=50).to_json(asked, 1.0)["failures_below"] is None
    few = [Report(runs=runs).to_json(asked, 1.0)["failures_below"] for runs in (9, 10)]
    assert few == [None, 0.3]
    assert [asked.rng(n).random() for n in (1, 2)] == [asked.rng(n).random() for n in (1, 2)]


def test_a_family_that_was_not_run_is_null_and_never_zero() -> None:
    figures = summary({"races": {"runs": 0, "num_failures": 1, "lost": 0}})
    assert figures.pop("races") == 0
    assert figures.pop("lost") == 0
    assert figures.pop("failures") == 1
    assert set(figures.values()) == {None}
    wanted = {"lost", "duplicated", "phantom", "worker_kills", "driver_kills", "races"}
    wanted |= {"corpus_kinds", "corpus_unexpected", "lures_open", "overhead"}
    wanted |= {"simulation_schedules", "simulation_violations"}
    assert wanted <= summary({}).keys()


@pytest.fixture(scope="module")
def short_form() -> dict[str, Any]:
    """The JSON of the families, in one run: they share a Ray and an undisturbed job.

    Not of `store_kills`, which takes a minute: drivers on a store are in
    `tests/pipeline/test_working_copy.py`.
    """
    with redirect_stdout(io.StringIO()) as said:
        main(["--short", "--json", "--skip", "store_kills"])
    found: dict[str, Any] = json.loads(said.getvalue().splitlines()[-1])
    return found


@pytest.mark.timeout(2400)  # the first of these waits for all of them
@pytest.mark.parametrize(("name", "least"), LEAST_RUNS.items())
def test_the_short_form_of_a_family_finds_nothing(
    short_form: dict[str, Any], name: str, least: int
) -> None:
    report = short_form["families"][name]
    if "not_run" in report:
        assert name in short_form["not_run"]
        pytest.skip(report["not_run"])
    assert report["failures"] == []
    assert report["runs"] >= least
    assert {key: report[key] for key in WRONG if report.get(key)} == {}


def test_the_short_form_is_summed_up(short_form: dict[str, Any]) -> None:
    assert short_form["families"].keys() == FAMILIES.keys() - {"store_kills"} == LEAST_RUNS.keys()
    assert (short_form["lost"], short_form["duplicated"], short_form["phantom"]) == (0, 0, 0)
    assert (short_form["corpus_unexpected"], short_form["lures_open"]) == (0, 0)
    assert short_form["failures"] == 0
    overhead = short_form["families"]["overhead"]
    assert overhead["wall_s_with_and_without"].keys() == {"light"}
    assert len(overhead["wall_s_with_and_without"]["light"]) == 2
    soak = short_form["families"]["soak"]
    assert soak["loops"] > 0  # it makes one at least, however long that takes
    seen = soak["after_warm_up"]
    assert all(seen[role]["mb"] > 0 for role in ("worker", "decoder", "driver"))
    assert soak["tolerated_growth"]["mb"] > 0
    assert soak["failures_below"] is None


def test_the_sample_of_the_corpus_is_of_every_family() -> None:
    assert {kind.family for kind in sample()} == {kind.family for kind in KINDS}


def test_a_family_that_breaks_is_a_failure_and_one_that_cannot_run_is_null(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.faults.tracing.shutil.which", lambda name: None)
    monkeypatch.setitem(FAMILIES, "soak", Family("soak:nothing", 60, 60))
    assert main(["--short", "--json", "--only", "soak", "--only", "crash_points"]) == 1
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "AttributeError" in figures["families"]["soak"]["failures"][0]
    assert figures["crash_points"] is None
    assert "strace is not installed" in figures["families"]["crash_points"]["not_run"]
    assert figures["not_run"] == ["crash_points"]


def test_what_cannot_run_here_has_not_passed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.faults.tracing.shutil.which", lambda name: None)
    assert main(["--short", "--only", "crash_points"]) == 3
    *lines, last = capsys.readouterr().out.splitlines()
    assert json.loads(last)["not_run"] == ["crash_points"]
    assert [line for line in lines if line.startswith("crash_points: NOT RUN: strace")]
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "3 if nothing failed but" in " ".join(capsys.readouterr().out.split())


def test_inputs_that_hang_are_counted() -> None:
    kinds = [kind for kind in KINDS if kind.family == "headers"]
    timed_out, missing, wrong = [kind for kind in kinds if not kind.expected.unlisted][:3]
    rows, causes = [], []
    for kind, error_class in ((timed_out, "TIMEOUT"), (wrong, "CRASH")):
        rows.append({"uri": f"in/{kind.shown_path}", "outcome": "failed"})
        causes.append({"uri": f"in/{kind.shown_path}", "segment_id": None})
        causes[-1]["error_class"] = error_class
    three = (timed_out, missing, wrong)
    unexpected = check_rows(rows, causes, three)
    assert len(unexpected) == 3
    assert num_hangs(unexpected, three) == 2
    may = replace(timed_out, expected=timed_out.expected.or_failed("TIMEOUT"))
    assert num_hangs(check_rows(rows, causes, (may, wrong)), (may, wrong)) == 0


def test_a_job_beyond_its_time_is_a_hang(asked: Asked) -> None:
    late = replace(asked, name="corpus", deadline=time.monotonic())
    late.folder.mkdir(exist_ok=True)
    report = run_corpus(late)
    assert report.figures == {"hangs": 1}
    assert "not done in the time there was" in report.failures[0]


def test_what_grows_too_much_or_was_never_seen_is_told() -> None:
    still = {"mb": 100.0, "files": 9.0, "threads": 2.0, "processes": 1.0}
    still |= {f"{figure}_growth": 0.0 for figure in still}
    assert [*too_much(still)] == []
    assert [*too_much(still | {"mb_growth": 8.0})] == []
    assert [*too_much(still | {"mb_growth": 8.1})] == ["grows by 8.1 MB on 100.0"]
    assert [*too_much(still | {"mb": 1000.0, "mb_growth": 50.0})] != []
    assert [*too_much(still | {"files_growth": 1.0})] == ["grows by 1.0 files on 9.0"]
    assert [*too_much({})] == ["not seen often enough to tell"]


def test_references_lead_to_a_listener_that_counts(tmp_path: Path) -> None:
    with listener() as heard:
        uris = list(references(tmp_path, heard.port))
        assert sum(f"127.0.0.1:{heard.port}/" in uri for uri in uris) > 0
        for _ in range(2):
            socket.create_connection(("127.0.0.1", heard.port)).close()
        assert (heard.connections(), heard.connections()) == (2, 0)


def test_a_lure_that_is_refused_hides_none_behind_it(tmp_path: Path) -> None:
    list(references(tmp_path, 1))
    inputs = tmp_path / "in"
    with pytest.raises(ItemError, match="leads out of the folder"):
        read_all(str(inputs))
    (inputs / "leads-out").unlink()
    (tmp_path / "elsewhere").rename(inputs / "leads-out")  # as if the link were followed
    (inputs / "a.wav").unlink()
    (inputs / "a.wav").symlink_to("/etc/passwd")
    assert read_all(str(inputs)) == f"{inputs}/leads-out/a.wav: {CANARY.encode()!r}"
