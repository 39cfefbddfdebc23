"""Prints the rows of a query in the format asked for."""

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table

from pipeline.query import query
from pipeline.shown_text import clean
from schemas.errors import SpecError

FORMATS = ("table", "json", "csv", "parquet")
_BETWEEN = " | "
_FOLDED = 12
"""Characters of a cell below which folding it would break words and numbers."""
_FORMULA = r"\A([=+\-@\t\r\n])"
"""How a cell begins that a spreadsheet takes for a formula (OWASP, "CSV Injection")."""


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
        pa_csv.write_csv(as_cells(rows), sys.stdout.buffer)
    elif format == "parquet":
        sink = pa.BufferOutputStream()
        pq.write_table(rows, sink)
        sys.stdout.buffer.write(sink.getvalue())
    else:
        _print_table(rows)


def _print_table(rows: pa.Table) -> None:
    names = [clean(name) for name in rows.column_names]
    cells = [[_shown(value) for value in column.to_pylist()] for column in rows.columns]
    # A pipe has no width of its own: lines are then as long as the rows are.
    console = Console(width=None if sys.stdout.isatty() else 400)
    if _width(names, cells) > console.width:
        _print_rows(names, cells)
        return
    table = Table(show_edge=False, pad_edge=False)
    for name in names:
        table.add_column(name, overflow="fold")
    for row in zip(*cells, strict=True):
        table.add_row(*row)
    console.print(table, markup=False)


def _width(names: list[str], cells: list[list[str]]) -> int:
    """Of a table in which long cells are folded, but no name and nothing of a word's length."""
    widths = (
        max(cell_len(name), min(_FOLDED, max(map(cell_len, column), default=0)))
        for name, column in zip(names, cells, strict=True)
    )
    return sum(widths) + len(_BETWEEN) * (len(names) - 1)


def _print_rows(names: list[str], cells: list[list[str]]) -> None:
    """One row below the other, a line for each column."""
    widest = max(map(cell_len, names))
    for number, row in enumerate(zip(*cells, strict=True), start=1):
        print(f"row {number}")
        for name, cell in zip(names, row, strict=True):
            print(f"  {set_cell_size(name, widest)}  {' '.join(cell.splitlines())}".rstrip())
    if not cells[0]:
        print("no rows")


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    # A transcript or a file name may hold what drives a terminal.
    return "" if value is None else clean(str(value))


def as_cells(rows: pa.Table) -> pa.Table:
    """The rows as CSV takes them: lists as JSON, and an apostrophe before what would be a formula.

    Numbers stay as they are; Parquet and JSON hold every text as it is.
    """
    return pa.table(
        [_cells(column) for column in rows.columns],
        names=[_harmless(name) for name in rows.column_names],
    )


def _cells(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    if pa.types.is_nested(column.type):
        # JSON begins with a bracket or a brace.
        return pa.array(
            [json.dumps(v, default=str, ensure_ascii=False) for v in column.to_pylist()]
        )
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return pc.replace_substring_regex(column, _FORMULA, r"'\1")
    return column


def _harmless(name: str) -> str:
    return str(pc.replace_substring_regex(pa.scalar(name), _FORMULA, r"'\1"))
