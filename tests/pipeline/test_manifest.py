"""The commit: rows of a unit exist in every table together, once, or not at all."""

from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipeline.catalog import write_catalog
from pipeline.commit import Outcome
from pipeline.manifest import Manifest, write_rows
from pipeline.query import query
from schemas.errors import OutputError, SpecError
from schemas.manifest import TABLES


def unit_rows(number: int) -> dict[str, list[dict[str, Any]]]:
    ids = {"source_id": f"s{number}", "recording_id": f"r{number}"}
    recording = ids | {"uri": f"{number}.wav", "size_bytes": 1, "etag": "1", "outcome": "done"}
    turn = ids | {
        "turn_index": 0,
        "start_sample": 0,
        "end_sample": 10,
        "sample_rate_hz": 24000,
        "speaker": "A",
    }
    return {"recordings": [recording], "turns": [turn, turn | {"turn_index": 1}]}


def test_nobody_sees_rows_before_their_commit_and_everybody_sees_all_after_it(
    tmp_path: Path,
) -> None:
    manifest = Manifest.create(tmp_path)
    files = write_rows(tmp_path, "u1", 0, unit_rows(1))
    assert manifest.table("recordings").num_rows == 0
    assert manifest.commit("u1", files, 0) is Outcome.COMMITTED
    reader = Manifest(tmp_path)
    assert reader.table("recordings").num_rows == 1
    assert reader.table("turns").num_rows == 2


def test_a_second_or_late_commit_of_a_unit_changes_nothing(tmp_path: Path) -> None:
    first, second = Manifest.create(tmp_path), Manifest.create(tmp_path)
    assert first.commit_rows("u1", unit_rows(1)) is Outcome.COMMITTED
    assert second.commit_rows("u1", unit_rows(1)) is Outcome.ALREADY
    assert Manifest(tmp_path).table("recordings").num_rows == 1


def test_stray_and_torn_files_are_no_rows(tmp_path: Path) -> None:
    manifest = Manifest.create(tmp_path)
    manifest.commit_rows("u1", unit_rows(1))
    folder = manifest.folder / "table=recordings"
    (folder / "stray.parquet").write_bytes(b"PAR1 torn")
    write_rows(tmp_path, "u2", 0, unit_rows(2))
    assert manifest.table("recordings")["uri"].to_pylist() == ["1.wav"]
    with manifest.connect() as db:
        assert db.execute("SELECT count(*) FROM recordings").fetchone() == (1,)


def test_a_damaged_committed_file_is_named(tmp_path: Path) -> None:
    manifest = Manifest.create(tmp_path)
    manifest.commit_rows("u1", unit_rows(1))
    path = manifest.files("recordings")[0]
    data = bytearray(path.read_bytes())
    data[20] ^= 0x10
    path.write_bytes(bytes(data))
    with pytest.raises(OutputError, match=r"u1-0-.*\.parquet is committed but cannot be read"):
        manifest.table("recordings")


def test_every_table_can_be_asked_even_before_it_has_rows(tmp_path: Path) -> None:
    manifest = Manifest.create(tmp_path)
    write_catalog(manifest)
    with duckdb.connect(str(tmp_path / "catalog.duckdb"), read_only=True) as db:
        for name, table in TABLES.items():
            found = db.execute(f'SELECT * FROM "{name}"').fetchall()
            assert found == []
            columns = [row[0] for row in db.execute(f'DESCRIBE "{name}"').fetchall()]
            assert columns == [column.name for column in table.columns]


def test_the_catalogue_documents_every_column(tmp_path: Path) -> None:
    path = write_catalog(Manifest.create(tmp_path))
    with duckdb.connect(str(path), read_only=True) as db:
        rows = db.execute(
            "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal"
        ).fetchall()
    assert len(rows) == sum(len(table.columns) for table in TABLES.values())
    assert all(comment for _, _, comment in rows)


def test_a_folder_that_is_no_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="holds no audiomill output"):
        Manifest(tmp_path)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    manifest = Manifest.create(tmp_path / "out")
    manifest.commit_rows("u1", unit_rows(1))
    return tmp_path / "out"


def test_a_query_gives_rows(out: Path) -> None:
    assert query(out, "SELECT uri FROM recordings").to_pylist() == [{"uri": "1.wav"}]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('{secret}')",
        "COPY (SELECT 1) TO '{written}'",
        "SELECT 1; SELECT 2",
        "ATTACH '{written}'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "SELECT nonsense FROM recordings",
        "",
    ],
)
def test_a_query_reads_the_tables_and_nothing_else(out: Path, tmp_path: Path, sql: str) -> None:
    secret, written = tmp_path / "secret.txt", tmp_path / "written.csv"
    secret.write_text("canary")
    with pytest.raises(SpecError) as caught:
        query(out, sql.format(secret=secret, written=written))
    assert "canary" not in str(caught.value)
    assert not written.exists()
