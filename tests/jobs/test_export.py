"""`audiomill export`: a folder in another loader's format, or one line that says why not."""

import json
from pathlib import Path

import pytest

from jobs.cli import main
from tests.jobs.made_output import make_output


def test_shards_become_a_folder_of_another_format(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, target = make_output(tmp_path / "out"), tmp_path / "mds"
    assert main(["export", str(out), str(target), "--format", "mds"]) == 0
    assert "48 segments" in capsys.readouterr().out
    index = json.loads((target / "index.json").read_text())
    assert sum(shard["samples"] for shard in index["shards"]) == 48


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["out", "new", "--format", "tfrecord"], "wanted one of webdataset, mds, litdata"),
        (["out", "out", "--format", "mds"], "is there already"),
        (["nowhere", "new", "--format", "mds"], "nowhere"),
        (["out", "new"], "--format"),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_output(tmp_path / "out", num_shards=1)
    monkeypatch.chdir(tmp_path)
    assert main(["export", *arguments]) == 2
    found = capsys.readouterr().err.strip()
    assert said in found
    assert len(found.splitlines()) == 1
    assert not (tmp_path / "new").exists()
