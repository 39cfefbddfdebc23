"""Answers of DuckDB as plain rows."""

from collections.abc import Sequence
from typing import Any

import duckdb

Row = dict[str, Any]


def sql_rows(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: Sequence[object] = ()
) -> list[Row]:
    """Rows of the answer, column name to value."""
    cursor = connection.execute(query, list(parameters))
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]


def sql_row(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: Sequence[object] = ()
) -> Row:
    """The row of an answer that has exactly one."""
    (row,) = sql_rows(connection, query, parameters)
    return row
