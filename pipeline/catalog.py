"""`OUT/catalog.duckdb`: a view per table over the committed files, for any DuckDB."""

from pathlib import Path

import duckdb

from pipeline.files import again_if_gone, part_of, storage_error
from pipeline.manifest import Manifest
from schemas.errors import StorageError
from schemas.manifest import TABLES

CATALOG_FILE = "catalog.duckdb"


def write_catalog(manifest: Manifest) -> Path:
    """Writes the catalogue anew and puts it in place whole, so that readers are not disturbed.

    The views name the committed files by absolute path; `audiomill query` needs no catalogue, and
    `audiomill report` writes it anew, after a move for example.
    """
    path = manifest.out / CATALOG_FILE
    try:
        again_if_gone(lambda: _write(path, manifest))
    except (duckdb.IOException, duckdb.TransactionException) as error:
        raise StorageError(
            f"{path} cannot be written ({' '.join(str(error).split())}); make room if the disk is "
            "full, ask 'audiomill status --verify' if a table is damaged, and run the command again"
        ) from error
    except OSError as error:
        raise storage_error(path, error) from error
    return path


def _write(path: Path, manifest: Manifest) -> None:
    part = part_of(path)
    try:
        with duckdb.connect(str(part)) as db:
            _fill(db, manifest)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _fill(db: duckdb.DuckDBPyConnection, manifest: Manifest) -> None:
    for statement in manifest.view_statements():
        db.execute(statement)
    explain_columns(db)


def explain_columns(db: duckdb.DuckDBPyConnection) -> None:
    """Gives every view and column its meaning as a comment."""
    for table in TABLES.values():
        db.execute(f'COMMENT ON VIEW "{table.name}" IS {_quoted(table.doc)}')
        for column in table.columns:
            db.execute(f'COMMENT ON COLUMN "{table.name}"."{column.name}" IS {_quoted(column.doc)}')


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
