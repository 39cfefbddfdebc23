"""The log of a run tells of it and never stops it."""

import json
from pathlib import Path

import pytest

from pipeline.events import FOLDER, event, logged
from schemas.errors import StorageError
from tests.pipeline.test_files import full_disk


def a_run(out: Path, said: str) -> None:
    with logged(out, "a-run", workers=2):
        event(said, unit="u")
        raise StorageError("as it happens")


def test_a_run_s_events_are_lines_between_its_begin_and_its_end(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        a_run(tmp_path, "something")
    lines = (tmp_path / FOLDER / "a-run.jsonl").read_text().splitlines()
    told = [json.loads(line) for line in lines]
    assert [line["event"] for line in told] == ["run_begun", "something", "run_ended"]
    assert told[0]["workers"] == 2
    assert told[-1]["ending"] == "failed: StorageError"


def test_a_full_disk_hides_no_error(tmp_path: Path) -> None:
    with full_disk(), pytest.raises(StorageError, match="as it happens"):
        a_run(tmp_path, "long" * 500)
