"""One SQL statement over the committed tables, as a table, JSON, CSV or Parquet."""

from pathlib import Path
from typing import Literal

import duckdb
import pyarrow as pa

from pipeline.manifest import Manifest
from schemas.errors import SpecError

Format = Literal["table", "json", "csv", "parquet"]
READING = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}


def query(out: Path, sql: str) -> pa.Table:
    """Rows of one read-only statement; raises `SpecError` with DuckDB's own words when it is wrong.

    The connection sees the committed tables and nothing else: no other file, no network, no
    settings to change, so that SQL from a colleague's message is safe to run.
    """
    manifest = Manifest(out)
    db = manifest.connect()
    try:
        db.execute(f"SET allowed_directories = ['{_quoted(manifest.folder.resolve())}/']")
        for setting in (
            "SET enable_external_access = false",
            "SET autoload_known_extensions = false",
            "SET autoinstall_known_extensions = false",
            "SET lock_configuration = true",
        ):
            db.execute(setting)
        statements = db.extract_statements(sql)
        if len(statements) != 1:
            raise SpecError(f"wanted one SQL statement, found {len(statements)}")
        if statements[0].type not in READING:
            raise SpecError(
                f"wanted a statement that reads, found {statements[0].type.name}; the tables of "
                "an output are never changed by hand"
            )
        return _arrow(db, sql)
    except duckdb.Error as error:
        raise SpecError(f"the query failed: {' '.join(str(error).split())}") from error
    finally:
        db.close()


def _arrow(db: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    found = db.sql(sql)
    return pa.table(found.to_arrow_table()) if found is not None else pa.table({})


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
