"""A documented column, and the table made of such columns."""

from dataclasses import dataclass

import pyarrow as pa

from schemas.errors import OutputError

VERSION_KEY = b"audiomill.version"
TABLE_KEY = b"audiomill.table"


@dataclass(frozen=True, slots=True)
class Column:
    """Name, type and meaning of one column. Units stand in the name and again in the doc."""

    name: str
    type: pa.DataType
    doc: str
    nullable: bool = True

    def field(self) -> pa.Field:
        return pa.field(self.name, self.type, self.nullable, metadata={"doc": self.doc})


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the manifest: its columns are written out, never inferred from rows."""

    name: str
    doc: str
    version: int
    key: tuple[str, ...]
    """Columns that name a row and order the rows of a file."""
    columns: tuple[Column, ...]

    @property
    def column_names(self) -> frozenset[str]:
        return frozenset(column.name for column in self.columns)

    def schema(self) -> pa.Schema:
        """Arrow schema with the doc of each column and the version of the table in its metadata."""
        return pa.schema(
            [column.field() for column in self.columns],
            metadata={TABLE_KEY: self.name.encode(), VERSION_KEY: str(self.version).encode()},
        )

    def to_arrow(self, rows: list[dict[str, object]]) -> pa.Table:
        """Rows as an Arrow table in key order; a name that is no column of ours is an error."""
        for row in rows:
            unknown = row.keys() - self.column_names
            if unknown:
                raise OutputError(
                    f"table {self.name}: a row carries {sorted(unknown)}, which are no columns; "
                    f"add them to schemas/{self.name}.py or do not write them"
                )
        ordered = sorted(rows, key=lambda row: tuple(str(row[k]) for k in self.key))
        return pa.Table.from_pylist(ordered, schema=self.schema())
