"""The committed tables of an output folder.

All tables live in one Delta table, `OUT/manifest`, partitioned by the column `table`: a commit
there is atomic, so a recording's rows appear in every table together or not at all. Readers go by
the log, never by what lies in the folder.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from pipeline.files import WrittenFile, write_parquet
from schemas.errors import OutputError
from schemas.manifest import TABLES

PARTITION = "table"


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """A file of one table, written but not yet committed."""

    table: str
    file: WrittenFile


class Manifest:
    """The tables under `out`; `create` makes them, anything else wants them to be there."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.folder = out / "manifest"
        try:
            self._delta = DeltaTable(str(self.folder))
        except TableNotFoundError:
            raise OutputError(
                f"{out} holds no audiomill output (no manifest in it); name the `output` folder of "
                "a job, or run the job first"
            ) from None

    @classmethod
    def create(cls, out: Path) -> "Manifest":
        """The manifest of `out`, made if it is not there yet."""
        folder = out / "manifest"
        folder.mkdir(parents=True, exist_ok=True)
        DeltaTable.create(
            str(folder), schema=_delta_schema(), partition_by=[PARTITION], mode="ignore"
        )
        return cls(out)

    def write(self, unit: str, rows: Mapping[str, list[dict[str, Any]]]) -> list[ManifestFile]:
        """Files with the rows of one unit. Nobody sees them until `commit`."""
        return write_rows(self.out, unit, rows)

    def commit(self, unit: str, files: Iterable[ManifestFile]) -> bool:
        """Makes the files of `unit` exist, all at once; False if that unit was committed before.

        The unit's id is an application transaction of the Delta log, so an attempt that comes late
        or twice changes nothing.
        """
        if self.is_committed(unit):
            return False
        actions: list[AddAction | RemoveAction] = [
            _add_action(self.folder, entry) for entry in files if entry.file.num_rows
        ]
        try:
            self._delta.create_write_transaction(
                actions,
                mode="append",
                schema=_delta_schema(),
                partition_by=[PARTITION],
                commit_properties=CommitProperties(app_transactions=[Transaction(unit, 1)]),
            )
        except CommitFailedError:
            # Another driver may have committed this very unit in between: the log knows.
            if self.is_committed(unit):
                return False
            raise
        return True

    def is_committed(self, unit: str) -> bool:
        """Whether the rows of that unit exist."""
        self._delta.update_incremental()
        return self._delta.transaction_version(unit) is not None

    def files(self, table: str) -> list[Path]:
        """Committed files of a table, in order of name."""
        self._delta.update_incremental()
        prefix = f"{PARTITION}={table}/"
        names = self._delta.get_add_actions(flatten=True).column("path").to_pylist()
        return sorted(self.folder / name for name in names if name.startswith(prefix))

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """Committed rows of a table, checksums verified; an empty table if there are none."""
        schema = TABLES[name].schema()
        if columns is not None:
            schema = pa.schema([schema.field(column) for column in columns])
        parts = []
        for path in self.files(name):
            try:
                with pq.ParquetFile(path, page_checksum_verification=True) as file:
                    part = file.read(columns=columns)
            except (OSError, pa.ArrowInvalid) as error:
                raise OutputError(
                    f"{path} is committed but cannot be read ({error}); the output is damaged: "
                    "restore the file, or run the job into a new output"
                ) from error
            parts.append(part.cast(schema))
        return pa.concat_tables(parts) if parts else schema.empty_table()

    def connect(self) -> duckdb.DuckDBPyConnection:
        """An in-memory DuckDB with a view per table over the committed files."""
        connection = duckdb.connect()
        for statement in self.view_statements():
            connection.execute(statement)
        return connection

    def view_statements(self) -> list[str]:
        """SQL that makes the views: over the files that the log names, never over a glob."""
        return [_view(name, self.files(name)) for name in TABLES]

    @property
    def num_commits(self) -> int:
        return int(self._delta.version())


def write_rows(
    out: Path, unit: str, rows: Mapping[str, list[dict[str, Any]]]
) -> list[ManifestFile]:
    """Files with the rows of one unit under `out`, one per table that has any."""
    written = []
    for name, table_rows in rows.items():
        if table_rows:
            path = out / "manifest" / f"{PARTITION}={name}" / f"{unit}.parquet"
            written.append(
                ManifestFile(name, write_parquet(TABLES[name].to_arrow(table_rows), path))
            )
    return written


def _add_action(folder: Path, entry: ManifestFile) -> AddAction:
    file = entry.file
    return AddAction(
        file.path.relative_to(folder).as_posix(),
        file.size_bytes,
        {PARTITION: entry.table},
        int(time.time() * 1000),
        True,
        f'{{"numRecords":{file.num_rows}}}',
    )


def _delta_schema() -> Schema:
    """Union of all tables' columns; a column of one name has one type in every table."""
    fields: dict[str, pa.Field] = {PARTITION: pa.field(PARTITION, pa.string())}
    for table in TABLES.values():
        for column in table.columns:
            known = fields.setdefault(column.name, pa.field(column.name, column.type))
            if known.type != column.type:
                raise OutputError(
                    f"column {column.name!r} is {known.type} in one table and {column.type} in "
                    f"{table.name!r}; one name has one type"
                )
    return Schema.from_arrow(pa.schema(list(fields.values())))


def _view(name: str, files: list[Path]) -> str:
    if files:
        listed = ", ".join("'" + str(path.resolve()).replace("'", "''") + "'" for path in files)
        # Null-only and older files must not decide a type: columns are matched by name.
        source = f"read_parquet([{listed}], union_by_name=true, hive_partitioning=false)"
        columns = ", ".join(f'"{column.name}"' for column in TABLES[name].columns)
        return f'CREATE OR REPLACE VIEW "{name}" AS SELECT {columns} FROM {source}'
    columns = ", ".join(
        f'CAST(NULL AS {_duckdb_type(column.type)}) AS "{column.name}"'
        for column in TABLES[name].columns
    )
    return f'CREATE OR REPLACE VIEW "{name}" AS SELECT {columns} WHERE false'


def _duckdb_type(type_: pa.DataType) -> str:
    if pa.types.is_list(type_):
        return f"{_duckdb_type(type_.value_type)}[]"
    if pa.types.is_struct(type_):
        inner = ", ".join(f'"{f.name}" {_duckdb_type(f.type)}' for f in type_)
        return f"STRUCT({inner})"
    if pa.types.is_map(type_):
        return f"MAP({_duckdb_type(type_.key_type)}, {_duckdb_type(type_.item_type)})"
    return {
        "string": "VARCHAR",
        "int32": "INTEGER",
        "int64": "BIGINT",
        "double": "DOUBLE",
        "timestamp[us, tz=UTC]": "TIMESTAMPTZ",
    }[str(type_)]
