"""`OUT/catalog.duckdb`: a view per table over the committed files, for any DuckDB."""

import os
from pathlib import Path

import duckdb

from pipeline.manifest import Manifest
from schemas.manifest import TABLES

CATALOG_FILE = "catalog.duckdb"


def write_catalog(manifest: Manifest) -> Path:
    """Writes the catalogue anew and puts it in place whole, so that readers are not disturbed.

    The views name the committed files by absolute path; `audiomill query` needs no catalogue, and
    `audiomill report` writes it anew, after a move for example.
    """
    path = manifest.out / CATALOG_FILE
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    with duckdb.connect(str(part)) as db:
        for statement in manifest.view_statements():
            db.execute(statement)
        for table in TABLES.values():
            db.execute(f'COMMENT ON VIEW "{table.name}" IS {_quoted(table.doc)}')
            for column in table.columns:
                db.execute(
                    f'COMMENT ON COLUMN "{table.name}"."{column.name}" IS {_quoted(column.doc)}'
                )
    part.replace(path)
    return path


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
