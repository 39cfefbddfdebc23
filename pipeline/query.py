"""One SQL statement over the committed tables, as a table, JSON, CSV or Parquet.

SQL can read and write files, load code and speak to the network; and a statement is often copied
from a message. So the connection is locked before the statement is read. Whoever opens
`catalog.duckdb` for a statement of unknown origin can lock it in the same way:

    SET allowed_directories = ['/path/to/OUT/manifest/'];
    SET enable_external_access = false;
    SET lock_configuration = true;
"""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow as pa

from pipeline.catalog import explain_columns
from pipeline.manifest import Manifest
from schemas.errors import OutputError, SpecError
from schemas.manifest import TABLES

Format = Literal["table", "json", "csv", "parquet"]
READING = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}
MAX_S = 600.0
MAX_RESULT_BYTES = 2 << 30
"""Of rows in memory, on their way to a terminal or a file."""
MAX_SPILL_GB = 32
_MEMORY_SHARE = 0.5


def query(out: Path, sql: str) -> pa.Table:
    """Rows of one read-only statement; raises `SpecError` with DuckDB's own words when it is wrong.

    The connection sees the committed tables and nothing else: no other file, no network, no
    settings to change, so that SQL from a colleague's message is safe to run. It may take half of
    the machine's memory, all its cores, `MAX_S` seconds and `MAX_RESULT_BYTES` of rows.
    """
    manifest = Manifest(out)
    paths = _committed(manifest)
    with manifest.connect() as db, tempfile.TemporaryDirectory(prefix="audiomill-query-") as spill:
        try:
            explain_columns(db)
            _lock(db, paths, spill)
            statements = db.extract_statements(sql)
            if len(statements) != 1:
                raise SpecError(f"wanted one SQL statement, found {len(statements)}")
            if statements[0].type not in READING:
                raise SpecError(
                    f"wanted a statement that reads, found {statements[0].type.name}; the tables "
                    "of an output are never changed by hand"
                )
            with _interrupted_after(db, MAX_S):
                return _rows(db, sql)
        except duckdb.InterruptException as error:
            raise SpecError(
                f"the query took more than {MAX_S:g} s and was stopped; open catalog.duckdb in "
                "DuckDB to ask for longer"
            ) from error
        except duckdb.Error as error:
            raise SpecError(f"the query failed: {' '.join(str(error).split())}") from error


def _committed(manifest: Manifest) -> list[str]:
    """Real paths of the committed files; raises `OutputError` where the log leads elsewhere."""
    folder = manifest.folder.resolve()
    paths = [path.resolve() for name in TABLES for path in manifest.files(name)]
    for path in paths:
        if folder not in path.parents:
            raise OutputError(
                f"{manifest.out}: its log names {path}, which lies outside of it; this output was "
                "not written by audiomill alone, do not trust it"
            )
    return [str(path) for path in paths]


def _lock(db: duckdb.DuckDBPyConnection, paths: list[str], spill: str) -> None:
    memory_mb = int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * _MEMORY_SHARE) >> 20
    listed = ", ".join(_quoted(path) for path in paths)
    for setting in (
        f"memory_limit = '{memory_mb}MB'",
        f"threads = {os.cpu_count() or 1}",
        f"temp_directory = {_quoted(spill)}",
        f"max_temp_directory_size = '{MAX_SPILL_GB}GB'",
        f"allowed_paths = [{listed}]",
        "enable_external_access = false",
        "autoload_known_extensions = false",
        "autoinstall_known_extensions = false",
        "allow_community_extensions = false",
        "python_enable_replacements = false",  # no variable of this program is a table
        "lock_configuration = true",
    ):
        db.execute(f"SET {setting}")


@contextmanager
def _interrupted_after(db: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    timer = threading.Timer(seconds, db.interrupt)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _rows(db: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    reader = db.sql(sql).to_arrow_reader()
    batches = []
    size = 0
    for batch in reader:
        size += batch.nbytes
        if size > MAX_RESULT_BYTES:
            raise SpecError(
                f"the answer has more than {MAX_RESULT_BYTES >> 20} MB; add a LIMIT, or open "
                "catalog.duckdb in DuckDB and COPY it to a file"
            )
        batches.append(batch)
    return pa.Table.from_batches(batches, reader.schema)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
