"""A spec that was given to the wrong command: the right one is named."""

from pathlib import Path

import pytest
import yaml

from jobs.cli import main

JOBS = Path(__file__).resolve().parents[2] / "jobs"


@pytest.mark.parametrize(
    ("command", "spec", "message"),
    [
        ("plan", "pretrain-tiny", "looks like the spec of a training; use 'audiomill train'"),
        ("run", "posttrain", "looks like the spec of a training; use 'audiomill train'"),
        (
            "run",
            "tokenizer-small",
            "looks like the spec of a tokenizer's training; use 'audiomill tokenizer train'",
        ),
        ("train", "demo", "looks like the spec of a job; use 'audiomill run'"),
        (
            "train",
            "tokenizer-small-further",
            "looks like the spec of a tokenizer's training; use 'audiomill tokenizer train'",
        ),
        ("tokenizer train", "podcasts-en-zh", "looks like the spec of a job; use 'audiomill run'"),
        (
            "tokenizer train",
            "pretrain-stage1",
            "looks like the spec of a training; use 'audiomill train'",
        ),
    ],
)
def test_the_command_that_takes_it_is_named(
    command: str, spec: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = JOBS / f"{spec}.yaml"
    assert main([*command.split(), str(path), "output=out/never"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"audiomill: {path}: {message}"


@pytest.mark.parametrize(
    ("command", "raw", "message"),
    [
        ("plan", {"name": "a", "input": {"uri": "x"}, "output": "y"}, "input: unknown key"),
        (
            "plan",
            {"name": "a", "inputs": {"uri": "x"}, "output": "y", "steps": 3},
            "steps: unknown key",
        ),
        ("train", {}, "name: is missing"),
        ("train", {"name": "a", "seed": 1}, "output: is missing"),
    ],
)
def test_what_looks_like_nothing_else_has_its_own_mistake_named(
    tmp_path: Path,
    command: str,
    raw: dict[str, object],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(raw))
    assert main([command, str(path)]) == 2
    assert f"{path}: {message}" in capsys.readouterr().err
