"""Prints the rows of a query in the format asked for."""

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from pipeline.query import query
from schemas.errors import SpecError

FORMATS = ("table", "json", "csv", "parquet")


def print_query(out: Path, sql: str, format: str) -> None:
    """Rows to standard output; Parquet wants to be sent to a file."""
    if format not in FORMATS:
        raise SpecError(f"--format: wanted one of {', '.join(FORMATS)}, found {format!r}")
    if format == "parquet" and sys.stdout.isatty():
        raise SpecError("--format parquet writes bytes; send them to a file with '> rows.parquet'")
    rows = query(out, sql)
    if format == "json":
        print(json.dumps(rows.to_pylist(), default=str, ensure_ascii=False))
    elif format == "csv":
        pa_csv.write_csv(_flat(rows), sys.stdout.buffer)
    elif format == "parquet":
        sink = pa.BufferOutputStream()
        pq.write_table(rows, sink)
        sys.stdout.buffer.write(sink.getvalue())
    else:
        _print_table(rows)


def _print_table(rows: pa.Table) -> None:
    table = Table(show_edge=False, pad_edge=False)
    for name in rows.column_names:
        table.add_column(name, overflow="fold")
    for row in rows.to_pylist():
        table.add_row(*(_shown(value) for value in row.values()))
    # A pipe has no width of its own: lines are then as long as the rows are.
    Console(width=None if sys.stdout.isatty() else 400).print(table, markup=False)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _flat(rows: pa.Table) -> pa.Table:
    """CSV knows no lists: they are written as JSON."""
    columns = [
        pa.array([json.dumps(v, default=str, ensure_ascii=False) for v in column.to_pylist()])
        if pa.types.is_nested(column.type)
        else column
        for column in rows.columns
    ]
    return pa.table(dict(zip(rows.column_names, columns, strict=True)))
