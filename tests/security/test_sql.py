"""SQL copied from a message: it reads the committed tables, and nothing else happens."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import query as query_module
from pipeline.catalog import write_catalog
from pipeline.manifest import Manifest
from pipeline.query import query
from schemas.errors import OutputError, SpecError
from tests.pipeline.manifest_rows import recording, segment

CANARY = "canary-52c1"
ATTACKS = (
    "SELECT * FROM read_text('{secret}')",
    "SELECT * FROM read_blob('{folder}/*')",
    "SELECT * FROM read_csv('{secret}')",
    "SELECT * FROM '{other}'",
    "SELECT * FROM read_parquet('{other}')",
    "SELECT * FROM read_text('{committed}/../../../secret.txt')",
    "SELECT * FROM parquet_metadata('{other}')",
    "SELECT * FROM sniff_csv('{secret}')",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT * FROM query('COPY (SELECT 1) TO ''{written}''')",
    "SELECT * FROM duckdb_secrets()",
    "SELECT getenv('CANARY')",
    "SELECT * FROM canary_table",
    "SELECT * FROM 'http://127.0.0.1:{port}/x.parquet'",
    "SELECT * FROM read_text('s3://127.0.0.1:{port}/x')",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{written}'",
    "COPY (SELECT 1) TO '{written}'",
    "COPY recordings FROM '{other}'",
    "EXPORT DATABASE '{written}'",
    "IMPORT DATABASE '{folder}'",
    "ATTACH '{written}'",
    "ATTACH 'http://127.0.0.1:{port}/x.db'",
    "INSTALL httpfs",
    "INSTALL httpfs FROM 'http://127.0.0.1:{port}/'",
    "LOAD '{folder}/evil.so'",
    "SET enable_external_access = true",
    "SET allowed_directories = ['/']",
    "RESET lock_configuration",
    "PRAGMA enable_external_access",
    "CREATE SECRET (TYPE s3)",
    "CREATE TABLE t AS SELECT 1",
    "DROP VIEW recordings",
    "DELETE FROM recordings",
    "PREPARE p AS SELECT 1",
    "CALL pragma_version()",
    "SELECT 1; COPY (SELECT 1) TO '{written}'; SELECT 2",
    "-- nothing",
    "",
)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An output of one recording and one segment, with a secret and a table beside it."""
    manifest = Manifest.create(tmp_path / "out")
    rows = {"recordings": [recording("a.wav")], "segments": [segment("a.wav", 0, 2, "hello")]}
    manifest.commit_rows("u1", rows)
    (tmp_path / "secret.txt").write_text(CANARY)
    pq.write_table(pa.table({"x": [CANARY]}), tmp_path / "other.parquet")
    return tmp_path / "out"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.mark.parametrize("sql", ATTACKS)
def test_a_statement_reads_and_writes_nothing_else(
    out: Path, listener: socket.socket, monkeypatch: pytest.MonkeyPatch, sql: str
) -> None:
    monkeypatch.setenv("CANARY", CANARY)
    monkeypatch.chdir(out.parent)
    canary_table = pa.table({"x": [CANARY]})
    before = sorted(out.parent.rglob("*"))
    attack = sql.format(
        folder=out.parent,
        secret=out.parent / "secret.txt",
        other=out.parent / "other.parquet",
        written=out.parent / "written.csv",
        committed=Manifest(out).files("recordings")[0],
        port=listener.getsockname()[1],
    )
    with pytest.raises(SpecError) as caught:
        query(out, attack)
    assert CANARY not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(out.parent.rglob("*")) == before
    assert canary_table.num_rows == 1
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_the_tables_are_read_all_the_same(out: Path) -> None:
    sql = "SELECT uri, text FROM recordings JOIN segments USING (source_id)"
    assert query(out, sql).to_pylist() == [{"uri": "a.wav", "text": "hello"}]
    assert query(out, "EXPLAIN SELECT * FROM segments").num_rows
    assert query(out, "DESCRIBE segments").num_rows > 20


def test_a_file_that_no_commit_names_is_not_read(out: Path) -> None:
    stray = out / "manifest" / "table=recordings" / "stray.parquet"
    pq.write_table(pa.table({"x": [CANARY]}), stray)
    with pytest.raises(SpecError, match="query failed"):
        query(out, f"SELECT * FROM '{stray}'")


def test_a_log_that_leads_out_of_its_output_is_not_followed(out: Path) -> None:
    (log,) = (out / "manifest" / "_delta_log").glob("*1.json")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        if "add" in line and "recordings" in line["add"]["path"]:
            line["add"]["path"] = "table=recordings/../../../other.parquet"
    log.write_text("\n".join(json.dumps(line) for line in lines))
    with pytest.raises(OutputError):
        query(out, "SELECT * FROM recordings")


def test_a_statement_of_hours_is_stopped(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_module, "MAX_S", 0.5)
    with pytest.raises(SpecError, match=r"took more than 0\.5 s"):
        query(out, "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b")


def test_an_answer_without_end_is_not_gathered(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_module, "MAX_RESULT_BYTES", 16 << 20)
    with pytest.raises(SpecError, match="more than 16 MB; add a LIMIT"):
        query(out, "SELECT repeat('x', 1000) FROM range(1000000000000)")


def test_the_catalogue_can_be_locked_as_its_reader_is_told(out: Path) -> None:
    catalog = write_catalog(Manifest(out))
    told = (query_module.__doc__ or "").partition("    SET")[1:]
    locking = "".join(told).replace("/path/to/OUT", str(out.resolve()))
    with duckdb.connect(str(catalog), read_only=True) as db:
        db.execute(locking)
        assert db.execute("SELECT uri FROM recordings").fetchall() == [("a.wav",)]
        for attack in (
            f"SELECT * FROM read_text('{out.parent / 'secret.txt'}')",
            f"COPY (SELECT 1) TO '{out.parent / 'written.csv'}'",
            "SET enable_external_access = true",
        ):
            with pytest.raises(duckdb.Error):
                db.execute(attack)
    assert not (out.parent / "written.csv").exists()
