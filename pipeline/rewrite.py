"""Committed files written again without the rows of some recordings, shards and all."""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.data_name import unit_of
from pipeline.delta_log import Replacement
from pipeline.delta_store import SHARDS_FOLDER
from pipeline.files import write_parquet
from pipeline.manifest import Manifest, committed_parquet, write_tables
from pipeline.store import DataFile
from pipeline.working_copy import publish
from schemas.errors import OutputError
from schemas.tokens import FINGERPRINT_KEY, NUM_CODEBOOKS_KEY, shard_schema

_BY_SOURCE = ("recordings", "segments", "turns", "failures", "sketches")


@dataclass(frozen=True, slots=True)
class Gone:
    """Whose rows go: those of any of these inputs, and of any of these recordings."""

    sources: frozenset[str]
    recordings: frozenset[str]

    def mask(self, rows: pa.Table) -> pa.ChunkedArray:
        """`[rows]`: whether a row goes; `rows` has `source_id`, `recording_id` or both."""
        masks = [
            pc.is_in(rows[column], value_set=pa.array(sorted(ids), pa.string()))
            for column, ids in (("source_id", self.sources), ("recording_id", self.recordings))
            if column in rows.column_names
        ]
        return masks[0] if len(masks) == 1 else pc.or_(*masks)


@dataclass(frozen=True, slots=True)
class _Shard:
    """A shard without the rows that go; `file` is None if all of them do."""

    was: DataFile
    file: DataFile | None
    num_frames: int
    row_of: dict[str, int]
    """Segment to row, of those that stay."""


@dataclass(slots=True)
class _Group:
    """What becomes of the files of one unit."""

    gone: list[DataFile] = field(default_factory=list)
    new: list[DataFile] = field(default_factory=list)


def files_without(manifest: Manifest, gone: Gone, epoch: int) -> list[Replacement]:
    """Writes anew, under names of that epoch, every committed file that holds a row that goes.

    Nothing is committed. Files that would be empty are not written. Raises `OutputError` where a
    file is damaged, `StorageError` where the disk fails.
    """
    out = manifest.out
    groups: dict[str, _Group] = defaultdict(_Group)

    def replace(table: str, file: DataFile, rows: pa.Table) -> _Group:
        unit = unit_of(file.name) or ""
        group = groups[unit]
        group.gone.append(file)
        if rows.num_rows:
            group.new += write_tables(out, unit, epoch, {table: rows})
        return group

    for table in _BY_SOURCE:
        for file, rows in manifest.rows_by_file(table):
            left = rows.filter(pc.invert(gone.mask(rows)))
            if left.num_rows < rows.num_rows:
                replace(table, file, left)
    shards = _shards_without(manifest, gone, epoch)
    for file, rows in manifest.rows_by_file("tokens"):
        if touched := shards.keys() & set(rows["shard"].to_pylist()):
            left = rows.filter(pc.invert(gone.mask(rows)))
            replace("tokens", file, _renumbered(left, {name: shards[name] for name in touched}))
    for file, rows in manifest.rows_by_file("shards"):
        if touched := shards.keys() & set(rows["shard"].to_pylist()):
            group = replace("shards", file, _described_anew(rows, shards))
            group.gone += [shards[name].was for name in sorted(touched)]
            group.new += [new for name in sorted(touched) if (new := shards[name].file)]
    return [Replacement(tuple(group.gone), tuple(group.new)) for _, group in sorted(groups.items())]


def _shards_without(manifest: Manifest, gone: Gone, epoch: int) -> dict[str, _Shard]:
    """Every shard that holds a row that goes, by name."""
    touched: set[str] = set()
    for _, rows in manifest.rows_by_file("tokens"):
        touched |= set(rows.filter(gone.mask(rows))["shard"].to_pylist())
    by_name = {file.name: file for file in manifest.store.committed_files()}
    found = {}
    for _, rows in manifest.rows_by_file("shards"):
        for row in rows.to_pylist():
            if row["shard"] in touched:
                file = by_name[f"{SHARDS_FOLDER}/{row['file']}"]
                found[row["shard"]] = _shard_without(manifest.out, file, gone, epoch)
    if missing := touched - found.keys():
        raise OutputError(
            f"{manifest.out}: table tokens names shard {min(missing)}, and table shards does not; "
            "the output is damaged (audiomill status --verify says more), nothing was forgotten"
        )
    return found


def _shard_without(out: Path, file: DataFile, gone: Gone, epoch: int) -> _Shard:
    with committed_parquet(out, file, keep=False) as parquet:
        rows, layout = parquet.read(), parquet.metadata
    left = rows.filter(pc.invert(gone.mask(rows)))
    frames = pc.sum(left["num_frames"].cast(pa.int64())).as_py() or 0
    row_of = {segment: row for row, segment in enumerate(left["segment_id"].to_pylist())}
    if not row_of:
        return _Shard(file, None, 0, row_of)
    said = rows.schema.metadata
    schema = shard_schema(int(said[NUM_CODEBOOKS_KEY]), said[FINGERPRINT_KEY].decode())
    new = write_parquet(
        left.cast(schema),
        out,
        SHARDS_FOLDER,
        unit_of(file.name) or "",
        epoch,
        # As it was laid out when it was made.
        rows_per_group=max(
            layout.row_group(group).num_rows for group in range(layout.num_row_groups)
        ),
        dictionary=_columns_with_a_dictionary(layout),
    )
    publish(out, new.name, keep=False)
    return _Shard(file, new, frames, row_of)


def _columns_with_a_dictionary(layout: pq.FileMetaData) -> list[str]:
    """Paths of the columns that were written with one, in any row group."""
    columns = (
        layout.row_group(group).column(column)
        for group in range(layout.num_row_groups)
        for column in range(layout.num_columns)
    )
    return sorted({column.path_in_schema for column in columns if column.has_dictionary_page})


def _renumbered(tokens: pa.Table, shards: dict[str, _Shard]) -> pa.Table:
    """Rows of `tokens` that stay, with their rows in the shards as these are now."""
    found = []
    for row in tokens.to_pylist():
        if shard := shards.get(row["shard"]):
            row["shard_row"] = shard.row_of[row["segment_id"]]
        found.append(row)
    return pa.Table.from_pylist(found, schema=tokens.schema)


def _described_anew(rows: pa.Table, shards: dict[str, _Shard]) -> pa.Table:
    """Rows of `shards`, each with what its file is now; those of empty shards go."""
    found = []
    for row in rows.to_pylist():
        shard = shards.get(row["shard"])
        if shard and not shard.file:
            continue
        if shard and shard.file:
            row |= {
                "file": shard.file.name.rpartition("/")[2],
                "num_rows": shard.file.num_rows,
                "num_frames": shard.num_frames,
                "size_bytes": shard.file.size_bytes,
                "sha256": shard.file.sha256,
            }
        found.append(row)
    return pa.Table.from_pylist(found, schema=rows.schema)
