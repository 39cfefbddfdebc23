"""Every kind of damage to an output is named; what nobody sees is listed and can be removed."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.cli import main
from pipeline.data_name import data_name, unit_of
from pipeline.delta_log import read_entry, unit_entry
from pipeline.files import sha256_of
from pipeline.leftovers import collect_leftovers
from pipeline.manifest import Manifest
from pipeline.store import DataFile
from pipeline.verify import verify
from schemas.errors import OutputError
from tests.pipeline.small_output import WORDS, make_output


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_output(tmp_path_factory.mktemp("verify"))


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "out")
    return tmp_path / "out"


def committed(out: Path, folder: str) -> list[Path]:
    files = Manifest(out).store.committed_files()
    return sorted(out / file.name for file in files if file.name.startswith(folder))


def rewrite(out: Path, table: str, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Changes rows of a file and the log with them, as if they had been committed so."""
    for path in committed(out, f"manifest/table={table}"):
        found = pq.read_table(path)
        rows = found.to_pylist()
        if rows[0].get("outcome", "done") == "done":
            break
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=found.schema), path)
    sha256 = sha256_of(path)
    new = path.with_name(data_name(unit_of(path.name) or "", 0, sha256))
    shutil.copyfile(path, new)
    named = DataFile(new.relative_to(out).as_posix(), len(rows), new.stat().st_size, sha256)
    log = out / "manifest" / "_delta_log"
    entry = next(entry for entry in log.glob("*.json") if path.name in entry.read_text())
    said = read_entry(entry.name, entry.read_bytes())
    files = [named if (out / file.name) == path else file for file in said.files]
    entry.write_bytes(unit_entry(next(iter(said.units)), files, 0))


def test_a_finished_job_is_as_committed_and_adds_up(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = verify(finished)
    assert found.problems == ()
    assert found.orphans == ()
    assert found.accounts is not None
    assert found.accounts["inputs"] == len(WORDS)
    ends = [found.accounts[end] for end in ("done", "rejected", "failed", "pending")]
    assert ends == [3, 2, 1, 0]
    assert found.accounts["tokens"] == found.accounts["kept"] > 0
    assert main(["status", str(finished), "--verify", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["ok"]
    assert said["accounts"] == found.accounts


@pytest.mark.parametrize(
    "folder", ["manifest/table=segments", "manifest/table=recordings", "shards"]
)
@pytest.mark.parametrize("at", [0.02, 0.5, 0.98])
def test_a_flipped_bit_is_named(
    out: Path, folder: str, at: float, capsys: pytest.CaptureFixture[str]
) -> None:
    path = committed(out, folder)[0]
    data = bytearray(path.read_bytes())
    data[int(at * len(data))] ^= 0x10
    path.write_bytes(bytes(data))
    found = verify(out)
    assert len(found.problems) == 1
    assert found.problems[0].startswith(path.relative_to(out).as_posix())
    assert main(["status", str(out), "--verify"]) == 2
    assert path.name in capsys.readouterr().out
    if folder != "shards":
        with pytest.raises(OutputError, match=path.name):
            Manifest(out).table(folder.rpartition("=")[2])


@pytest.mark.parametrize("size", [None, 0, 100, -1])
def test_a_torn_or_missing_file_is_named(out: Path, size: int | None) -> None:
    for folder in ("manifest/table=sketches", "shards"):
        path = committed(out, folder)[0]
        if size is None:
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:size])
    names = [problem.partition(":")[0] for problem in verify(out).problems]
    assert names == [
        committed(out, folder)[0].relative_to(out).as_posix()
        for folder in ("manifest/table=sketches", "shards")
    ]


@pytest.mark.parametrize("size", [None, 0, 100])
def test_a_torn_or_missing_file_is_one_line_for_whoever_asks_the_tables(
    out: Path, size: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = committed(out, "manifest/table=segments")[0]
    if size is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:size])
    for command in (
        ["status", str(out)],
        ["query", str(out), "SELECT count(reason) FROM segments"],
    ):
        assert main(command) == 2
        said = capsys.readouterr().err
        assert path.name in said
        assert "--verify' names all that is damaged" in said
        assert said.count("\n") == 1


def test_files_in_each_others_place_are_named(out: Path) -> None:
    one, other = committed(out, "manifest/table=recordings")[:2]
    one.rename(one.with_suffix(".away"))
    other.rename(one)
    one.with_suffix(".away").rename(other)
    assert len(verify(out).problems) == 2


@pytest.mark.parametrize("name", ["job.json", "inputs-0-*.parquet"])
def test_damage_to_what_the_job_was_begun_with_is_named(out: Path, name: str) -> None:
    path = next(out.glob(name))
    data = bytearray(path.read_bytes())
    data[10] ^= 0x80
    path.write_bytes(bytes(data))
    with pytest.raises(OutputError, match=path.name):
        verify(out)


def _uncoded(failure: dict[str, Any], segment_id: str) -> dict[str, Any]:
    return failure | {"stage": "tokenize", "segment_id": segment_id}


def test_a_segment_is_coded_or_failed_and_not_both(out: Path) -> None:
    tokens = Manifest(out).table("tokens").to_pylist()
    coded = tokens[0]["segment_id"]
    rewrite(out, "failures", lambda rows: rows.append(_uncoded(rows[0], coded)))
    problems = verify(out).problems
    assert any("without codes and not kept, or with codes as well" in said for said in problems)
    assert any(f"of {len(tokens)} segments coded and 1 failed" in said for said in problems)


@pytest.mark.parametrize(
    ("table", "change", "said"),
    [
        ("recordings", lambda rows: rows.clear(), "of no recording"),
        ("recordings", lambda rows: rows.append(rows[0]), "the same source_id twice"),
        (
            "recordings",
            lambda rows: rows[0].update(outcome="failed"),
            "failed without one cause",
        ),
        ("recordings", lambda rows: rows[0].update(uri="x"), "of no input that was listed"),
        ("segments", lambda rows: rows.append(rows[0]), "the same segment_id twice"),
        ("segments", lambda rows: rows.pop(), "with other segments than they count"),
        ("tokens", lambda rows: rows.pop(), "disagree with the shards' own rows"),
        ("tokens", lambda rows: rows[0].update(num_frames=3), "disagree with the shards'"),
        ("shards", lambda rows: rows[0].update(sha256="0"), "disagree with the shards' own"),
        ("failures", lambda rows: rows.clear(), "failed without one cause"),
        (
            "failures",
            lambda rows: rows.append(_uncoded(rows[0], "x")),
            "without codes and not kept",
        ),
    ],
)
def test_rows_that_do_not_add_up_are_named(
    out: Path, table: str, change: Callable[[list[dict[str, Any]]], object], said: str
) -> None:
    rewrite(out, table, change)
    assert any(said in problem for problem in verify(out).problems), verify(out).problems


def test_what_no_commit_names_is_listed_and_goes_after_its_grace(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strays = [
        "manifest/table=segments/foreign.parquet",
        "manifest/table=segments/.x.1.part",
        f"shards/{data_name('shard-000009', 0, 'a' * 64)}",
    ]
    for name in [
        *strays,
        ".catalog.duckdb.1.part",
        "attempts/x.part",
        "inputs-0-000000000000.parquet",
        "notes.txt",
    ]:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(b"PAR1 torn")
    found = verify(out)
    assert found.ok
    assert found.orphans == tuple(sorted(strays))
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert collect_leftovers(out, grace_s=3600) == []
    would_go = [leftover.name for leftover in collect_leftovers(out, grace_s=0, dry_run=True)]
    others = [".catalog.duckdb.1.part", "attempts/x.part", "inputs-0-000000000000.parquet"]
    assert would_go == sorted([*strays, *others])
    assert before == {path: path.stat().st_mtime_ns for path in before}
    for name in [*strays, *others]:
        os.utime(out / name, (0, 0))
    assert main(["gc", str(out), "--grace", "1"]) == 0
    assert "6 files removed" in capsys.readouterr().out
    assert verify(out).orphans == ()
    assert verify(out).ok
    assert (out / "notes.txt").exists()
    assert collect_leftovers(out, grace_s=0) == []


def test_a_rotten_checkpoint_is_named_and_harms_nobody(out: Path) -> None:
    store = Manifest(out).store
    store._make_checkpoint()
    path = next((out / "manifest" / "_delta_log").glob("*.checkpoint.parquet"))
    path.write_bytes(path.read_bytes()[:-9])
    assert [problem.partition(":")[0] for problem in verify(out).problems] == [
        path.relative_to(out).as_posix()
    ]
    assert Manifest(out).table("recordings").num_rows == len(WORDS)
