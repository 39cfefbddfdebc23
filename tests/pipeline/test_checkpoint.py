"""Checkpoints say what the entries say: to us, and to `deltalake`, which makes its own of them."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, Schema
from hypothesis import given
from hypothesis import strategies as st

from pipeline.checkpoint import SCHEMA, Action, actions_in, checkpoint_of
from pipeline.delta_log import (
    Replacement,
    actions_of,
    entry_name,
    entry_of,
    first_entry,
    replacing_entry,
    unit_entry,
)
from pipeline.store import DataFile

TABLE = Schema.from_arrow(pa.schema([("table", pa.string()), ("x", pa.int64())]))


def file(unit: int, table: str = "recordings") -> DataFile:
    return DataFile(f"manifest/table={table}/{unit}.parquet", 3, 10, f"{unit:064}")


def shard(unit: int) -> DataFile:
    return DataFile(f"shards/{unit}.parquet", 3, 10, f"{unit:064}")


def log_of(num_units: int, replaced: list[int]) -> list[bytes]:
    """Entries of units with a shard each, of which some are replaced later."""
    entries = [first_entry(TABLE, "a log")]
    for unit in range(num_units):
        entries.append(unit_entry(f"u{unit}", [file(unit), shard(unit)], unit // 7))
    for index, unit in enumerate(replaced):
        gone, new = (file(unit), shard(unit)), (file(1000 + unit), shard(1000 + unit))
        unit_of_it = f"forgotten-{index}"
        entries.append(replacing_entry(unit_of_it, [Replacement(gone, new)], [], 100 + index))
    return entries


def actions(entries: list[bytes]) -> list[Action]:
    return [action for entry in entries for action in actions_of("an entry", entry)]


@given(
    st.integers(1, 12),
    st.lists(st.integers(0, 11), unique=True, max_size=4),
    st.lists(st.integers(1, 16), max_size=3),
)
def test_a_checkpoint_does_not_depend_on_those_before_it(
    num_units: int, replaced: list[int], cuts: list[int]
) -> None:
    entries = log_of(num_units, [unit for unit in replaced if unit < num_units])
    at_once, num_rows = checkpoint_of(None, actions(entries))
    base, done = None, 0
    for cut in [*sorted(cut for cut in cuts if cut < len(entries)), len(entries)]:
        base, _ = checkpoint_of(base, actions(entries[done:cut]))
        done = cut
    assert base == at_once
    held = list(actions_in(at_once, SCHEMA.names))
    assert len(held) == num_rows
    said = entry_of(actions(entries))
    names = {f.name for f in said.files} - said.removed
    assert entry_of(held).units == said.units
    assert {f.name for f in entry_of(held).files} == names


def write_log(folder: Path, entries: list[bytes]) -> Path:
    log = folder / "_delta_log"
    log.mkdir(parents=True)
    for number, entry in enumerate(entries):
        (log / entry_name(number)).write_bytes(entry)
    return log


def as_seen(folder: Path) -> dict[str, Any]:
    """All that `deltalake` tells of a table."""
    table = DeltaTable(str(folder))
    metadata, protocol = table.metadata(), table.protocol()
    adds = pa.table(table.get_add_actions(flatten=True)).sort_by("path").to_pylist()
    return {
        "version": table.version(),
        "files": adds,
        "schema": table.schema().to_json(),
        "metadata": (metadata.id, metadata.name, metadata.created_time, metadata.configuration),
        "partitions": metadata.partition_columns,
        "protocol": (protocol.min_reader_version, protocol.min_writer_version),
        "units": [table.transaction_version(f"u{unit}") for unit in (0, 5, 99)],
        "epoch": table.transaction_version("audiomill-epoch"),
    }


@pytest.mark.parametrize("num_units", [8, 700])
def test_deltalake_reads_from_it_what_it_reads_from_the_entries(
    tmp_path: Path, num_units: int
) -> None:
    entries = log_of(num_units, [1, 5])
    log = write_log(tmp_path / "entries", entries)
    seen = as_seen(tmp_path / "entries")
    shutil.copytree(tmp_path / "entries", tmp_path / "checkpoint")
    data, num_rows = checkpoint_of(None, actions(entries))
    last = len(entries) - 1
    checkpoint = tmp_path / "checkpoint" / "_delta_log"
    for path in sorted(checkpoint.iterdir())[:-1]:
        path.unlink()
    (checkpoint / f"{last:020}.checkpoint.parquet").write_bytes(data)
    (checkpoint / "_last_checkpoint").write_text(json.dumps({"version": last, "size": num_rows}))
    assert as_seen(tmp_path / "checkpoint") == seen
    assert len(seen["files"]) == num_units
    DeltaTable(str(tmp_path / "entries")).create_checkpoint()
    theirs = next(log.glob("*.checkpoint.parquet")).read_bytes()
    assert by_subject(actions_in(theirs, SCHEMA.names)) == by_subject(
        actions_in(data, SCHEMA.names)
    )


def test_a_checkpoint_of_deltalake_can_be_built_upon(tmp_path: Path) -> None:
    """Outputs of earlier versions have such ones."""
    entries = log_of(9, [2])
    log = write_log(tmp_path / "table", entries[:6])
    DeltaTable(str(tmp_path / "table")).create_checkpoint()
    theirs = next(log.glob("*.checkpoint.parquet")).read_bytes()
    built = checkpoint_of(theirs, actions(entries[6:]))[0]
    ours = checkpoint_of(None, actions(entries))[0]
    assert by_subject(actions_in(built, SCHEMA.names)) == by_subject(actions_in(ours, SCHEMA.names))


def by_subject(said: Iterable[Action]) -> list[str]:
    """Actions without what is not said of them, in an order of their own."""
    return sorted(json.dumps(_said(action), sort_keys=True) for action in said)


def _said(value: object) -> object:
    if isinstance(value, dict):
        return {name: _said(of) for name, of in value.items() if of is not None}
    return sorted(value) if isinstance(value, list) else value


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + bytes(200) + b"PAR1"])
def test_what_is_no_checkpoint_is_refused(data: bytes) -> None:
    with pytest.raises((ValueError, OSError), match=r"(?i)parquet|thrift"):
        list(actions_in(data, ["add"]))
