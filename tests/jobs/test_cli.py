"""The command line: exit codes, one-line errors, and nothing touched when it refuses."""

import json
from pathlib import Path

import pytest
import yaml

from jobs.cli import main
from pipeline.output import open_output, sealed
from pipeline.run import run_job
from schemas.job import RunSpec
from tests.pipeline.small_output import make_output
from tests.pipeline.toy_jobs import Silent, toy_job, write_words

ROOT = Path(__file__).resolve().parents[2]


def spec_file(folder: Path, **changes: object) -> Path:
    """A small spec over one (unread) input, with sections replaced."""
    (folder / "in").mkdir(exist_ok=True)
    (folder / "in" / "a.wav").write_bytes(b"bytes")
    raw = {
        "name": "mine",
        "inputs": {"uri": str(folder / "in")},
        "output": str(folder / "out"),
        "stages": {"decode": None, "normalize": None},
        **changes,
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"speed": "fast"}, "speed: unknown key"),
        ({"stages": {"decode": {"max_hours": "4h"}}}, "the value is in hours, a plain number"),
        ({"stages": {"normalize": None, "decode": None}}, "'decode' does, move it up"),
        ({"inputs": {"uri": "no/such/folder"}}, "there is nothing at 'no/such/folder'"),
        ({"tokenize": {"engine": "mimo"}}, "needs the folder of a released tokenizer"),
        ({"tokenize": {"engine": "mimo", "model": "x"}}, "has no config.json"),
    ],
)
@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_job_that_cannot_run_is_one_line_and_exit_2_and_nothing_is_touched(
    command: str,
    changes: dict[str, object],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([command, str(spec_file(tmp_path, **changes))]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_job_that_never_fits_this_machine_is_refused_with_the_arithmetic(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has the GPU that the test wants to be missing")
    model = tmp_path / "model"
    model.mkdir()
    for name in ("config.json", "model.safetensors"):
        (model / name).write_text("{}")
    tokenize = {"engine": "mimo", "model": str(model), "device": "cuda"}
    for command in ("run", "plan"):
        assert main([command, str(spec_file(tmp_path, tokenize=tokenize))]) == 2
        assert "1 (gpu actor) = 1 GPUs, and" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def test_an_output_of_another_job_or_of_a_stranger_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = spec_file(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    assert main(["run", str(path)]) == 2
    assert "is not empty and holds no audiomill job" in capsys.readouterr().err
    assert main(["run", str(path), "--fresh"]) == 2
    assert "nothing was removed" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_an_output_that_cannot_be_made_is_one_line_before_ray_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    path = spec_file(tmp_path, output=str(tmp_path / "file" / "out"))
    assert main(["run", str(path)]) == 2
    said = capsys.readouterr()
    assert "file is a file); name a folder that can be written" in said.err
    assert "starting Ray" not in said.out + said.err


def test_a_changed_spec_is_named_when_it_meets_the_output_of_the_old_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from jobs.assembly import assemble_spec
    from pipeline.inputs import list_inputs

    job = assemble_spec(spec_file(tmp_path), [])
    open_output(job, list_inputs(job.spec.inputs))
    assert main(["plan", str(tmp_path / "job.yaml"), "stages.normalize.target_lufs=-20"]) == 2
    said = capsys.readouterr().err
    assert "was begun by another job: stages.normalize changed" in said


@pytest.mark.usefixtures("ray_of_two_cpus")
def test_status_and_query_speak_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inputs = write_words(tmp_path / "in", {"a": "good", "b": "bad", "c": "silent"})
    run_job(toy_job(inputs, tmp_path / "out", RunSpec(workers=1)), Silent())
    assert main(["status", str(tmp_path / "out"), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    keys = [
        "inputs",
        "done",
        "rejected",
        "failed",
        "pending",
        "segments",
        "kept",
        "hours",
        "frames",
    ]
    assert status.keys() >= set(keys)
    assert [status[key] for key in keys[:5]] == [3, 1, 1, 1, 0]
    sql = "SELECT outcome, count(*) AS n FROM recordings GROUP BY 1 ORDER BY 1"
    assert main(["query", str(tmp_path / "out"), sql, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows == [{"outcome": name, "n": 1} for name in ("done", "failed", "rejected")]
    meanings = "SELECT comment FROM duckdb_columns() WHERE table_name = 'segments' AND NOT internal"
    assert main(["query", str(tmp_path / "out"), meanings, "--format", "json"]) == 0
    assert all(row["comment"] for row in json.loads(capsys.readouterr().out))
    assert main(["query", str(tmp_path / "out"), sql, "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == '"outcome","n"'


def test_rows_with_more_columns_than_fit_have_a_line_for_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = make_output(tmp_path)

    def said(sql: str, *more: str) -> list[str]:
        assert main(["query", str(out), sql, *more]) == 0
        return capsys.readouterr().out.splitlines()

    (text,) = said("SELECT * FROM segments ORDER BY segment_id LIMIT 2", "--format", "json")
    first, second = json.loads(text)
    lines = said("SELECT * FROM segments ORDER BY segment_id LIMIT 2")
    assert len(lines) == 2 * (1 + len(first))
    for row, shown in ((first, lines[: len(lines) // 2]), (second, lines[len(lines) // 2 :])):
        assert [line.split()[0] for line in shown[1:]] == list(row)
        assert ["segment_id", row["segment_id"]] in [line.split() for line in shown]
    assert lines[0] == "row 1"
    assert said("SELECT * FROM segments LIMIT 0") == ["no rows"]
    folded = said("SELECT repeat('word ', 200) AS text, 3 AS n")
    assert folded[0].split() == ["text", "┃", "n"]
    assert len(folded) > 3


@pytest.mark.parametrize("command", ["status", "report"])
def test_a_folder_that_is_no_output_is_one_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"audiomill: {str(tmp_path)!r} holds no audiomill output")


def test_the_spec_of_another_audiomill_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = make_output(tmp_path)
    record = json.loads((out / "job.json").read_text())
    record["spec"]["speed"] = "fast"
    (out / "job.json").write_bytes(sealed(record))
    assert main(["report", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "holds no spec this audiomill reads: speed: unknown key" in line


def test_forget_says_what_went_and_what_it_does_not_know(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = make_output(tmp_path)
    uri = str(tmp_path / "in" / "a.txt")
    assert main(["forget", str(out), uri, "x.wav"]) == 2
    assert "'x.wav': no input of" in capsys.readouterr().err
    assert main(["forget", str(out), uri]) == 0
    assert f"forgotten: {uri}\n1 inputs forgotten" in capsys.readouterr().out
    assert main(["forget", str(out), uri]) == 0
    assert f"already forgotten: {uri}\n0 inputs forgotten" in capsys.readouterr().out
    assert main(["status", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["forgotten"] == 1


def test_help_and_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--help"]) == 0
    assert "Example: audiomill run jobs/demo.yaml" in capsys.readouterr().out
    assert main(["rum"]) == 2
    assert main(["run"]) == 2


def test_the_committed_json_schema_is_the_one_of_the_specs() -> None:
    from jobs.spec_schema import SCHEMA_FILE, spec_schema

    assert json.loads(SCHEMA_FILE.read_text()) == spec_schema(), "run 'make schema'"
