"""The committed tables of an output folder.

All tables live in one Delta table, `OUT/manifest`, partitioned by the column `table`: a commit
there is atomic, so a recording's rows appear in every table together or not at all. Readers go by
the log, never by what lies in the folder.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import Schema

from pipeline.commit import Outcome, commit_unit
from pipeline.data_name import unit_of
from pipeline.delta_log import PARTITION, TABLE_FOLDER
from pipeline.delta_store import DeltaStore
from pipeline.files import write_parquet
from pipeline.store import DataFile
from pipeline.working_copy import fetch, publish, read
from schemas.errors import OutputError, StorageError
from schemas.manifest import TABLES

TableRows = Mapping[str, list[dict[str, Any]]]
"""Name of a table to rows of it."""


class Manifest:
    """The tables under `out`; `create` makes them, anything else wants them to be there."""

    def __init__(self, out: Path, *, trust_checkpoints: bool = True) -> None:
        self.out = out
        self.folder = out / TABLE_FOLDER
        self.store = DeltaStore(out, trust_checkpoints=trust_checkpoints)

    @classmethod
    def create(cls, out: Path) -> "Manifest":
        """The manifest of `out`, made if it is not there yet."""
        DeltaStore.create(out, _delta_schema())
        return cls(out)

    def epoch(self) -> int:
        """What an attempt that begins now has to hand to `write_rows` and `commit`."""
        self.store.refresh()
        return self.store.epoch()

    def commit(self, unit: str, files: Sequence[DataFile], epoch: int) -> Outcome:
        """Makes the files of `unit` exist, all at once, unless it exists or the attempt is late."""
        return commit_unit(self.store, unit, files, epoch)

    def commit_rows(self, unit: str, rows: TableRows) -> Outcome:
        """Writes and commits rows that are at hand; again if garbage was collected meanwhile."""
        while True:
            epoch = self.epoch()
            outcome = self.commit(unit, write_rows(self.out, unit, epoch, rows), epoch)
            if outcome is not Outcome.FENCED:
                return outcome

    def is_committed(self, unit: str) -> bool:
        """Whether the rows of that unit exist."""
        self.store.refresh()
        return self.store.is_committed(unit)

    def units(self) -> frozenset[str]:
        """Every unit that exists."""
        self.store.refresh()
        return self.store.units()

    def forgotten(self) -> frozenset[str]:
        """`source_id` of every input that was forgotten."""
        return frozenset(self.table("tombstones", ["source_id"])["source_id"].to_pylist())

    def files(self, table: str) -> list[Path]:
        """Committed files of a table, in order of name."""
        self.store.refresh()
        return self._paths(table)

    def table(
        self,
        name: str,
        columns: list[str] | None = None,
        *,
        of_unit: Callable[[str], bool] = lambda _: True,
    ) -> pa.Table:
        """Committed rows of a table, checksums verified; an empty table if there are none.

        `of_unit` says which units' rows are wanted; files of others are not opened.
        """
        schema = TABLES[name].schema()
        if columns is not None:
            schema = pa.schema([schema.field(column) for column in columns])
        self.store.refresh()
        wanted = [file for file in self._files(name) if of_unit(unit_of(file.name) or "")]
        fetch(self.out, (file.name for file in wanted))
        parts = [self._read(file, columns).cast(schema) for file in wanted]
        return pa.concat_tables(parts) if parts else schema.empty_table()

    def rows_by_file(self, name: str) -> Iterator[tuple[DataFile, pa.Table]]:
        """Every committed file of a table with its rows, as of the last refresh."""
        schema = TABLES[name].schema()
        files = self._files(name)
        fetch(self.out, (file.name for file in files))
        for file in files:
            yield file, self._read(file, None).cast(schema)

    def connect(self, *, refresh: bool = True) -> duckdb.DuckDBPyConnection:
        """An in-memory DuckDB with a view per table over the committed files."""
        connection = duckdb.connect()
        for statement in self.view_statements(refresh=refresh):
            connection.execute(statement)
        return connection

    def view_statements(self, *, refresh: bool = True) -> list[str]:
        """SQL that makes the views: over the files that the log names, never over a glob."""
        if refresh:
            self.store.refresh()  # once, so that all views see the same units
        return [_view(name, self._paths(name)) for name in TABLES]

    def _paths(self, table: str) -> list[Path]:
        names = [file.name for file in self._files(table)]
        fetch(self.out, names)
        paths = [self.out / name for name in names]
        if missing := [path for path in paths if not path.exists()]:
            raise OutputError(
                f"{missing[0]} is missing ({len(missing)} of {len(paths)} files of table {table}); "
                "'audiomill status OUT --verify' names all that is damaged: restore it from a "
                "backup, or run the job into a new output"
            )
        return paths

    def _files(self, table: str) -> list[DataFile]:
        prefix = f"{TABLE_FOLDER}/{PARTITION}={table}/"
        return sorted(f for f in self.store.committed_files() if f.name.startswith(prefix))

    def _read(self, file: DataFile, columns: list[str] | None) -> pa.Table:
        with committed_parquet(self.out, file) as parquet:
            return parquet.read(columns=columns)


@contextmanager
def committed_parquet(out: Path, file: DataFile, *, keep: bool = True) -> Iterator[pq.ParquetFile]:
    """A committed file, its checksum verified; raises `OutputError` where it is damaged.

    `keep` says whether a working copy keeps it.
    """
    try:
        data = read(out, file.name, keep=keep)
        # Page checksums do not cover the footer, which says where and what the columns are.
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise ValueError("its bytes are not those that were committed")
        # Not buffered ahead: see `model/loader/shard.py`.
        with pq.ParquetFile(
            pa.BufferReader(data), page_checksum_verification=True, pre_buffer=False
        ) as parquet:
            yield parquet
    except StorageError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:
        raise OutputError(
            f"{out / file.name} is committed but cannot be read ({error}); the output is damaged: "
            "restore the file, or run the job into a new output"
        ) from error


def write_rows(out: Path, unit: str, epoch: int, rows: TableRows) -> list[DataFile]:
    """Files with the rows of one unit under `out`, one per table that has any.

    Nobody sees them until they are committed. `epoch` is `Manifest.epoch()` before the attempt.
    """
    tables = {name: TABLES[name].to_arrow(found) for name, found in rows.items() if found}
    return write_tables(out, unit, epoch, tables)


def write_tables(
    out: Path, unit: str, epoch: int, tables: Mapping[str, pa.Table]
) -> list[DataFile]:
    """`write_rows` of rows in Arrow tables, by name; none of them may be empty."""
    files = [
        write_parquet(rows, out, f"{TABLE_FOLDER}/{PARTITION}={name}", unit, epoch)
        for name, rows in tables.items()
    ]
    publish(out, *(file.name for file in files))
    return files


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
