"""Checkpoints of a Delta log: one Parquet file with a row for every action that still holds.

They are written here and not through `deltalake` 1.6, which keeps memory of every one it makes
(README.md has the figures). Any reader of Delta reads them. The same log gives the same bytes, from
whichever earlier checkpoint of ours they are made.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Action = Mapping[str, Any]
"""A line of an entry: one kind, and what is said of it."""
_ACTIONS_AT_ONCE = 1024
"""Never all of a log: allocators keep for long what a large table once took of a driver."""


def _required(name: str, of: pa.DataType) -> pa.Field:
    return pa.field(name, of, nullable=False)


_WORDS = pa.map_(pa.string(), pa.string())
SCHEMA = pa.schema(
    {
        "protocol": pa.struct(
            [
                _required("minReaderVersion", pa.int32()),
                _required("minWriterVersion", pa.int32()),
            ]
        ),
        "metaData": pa.struct(
            [
                _required("id", pa.string()),
                pa.field("name", pa.string()),
                _required(
                    "format",
                    pa.struct([_required("provider", pa.string()), _required("options", _WORDS)]),
                ),
                _required("schemaString", pa.string()),
                _required("partitionColumns", pa.list_(_required("element", pa.string()))),
                pa.field("createdTime", pa.int64()),
                _required("configuration", _WORDS),
            ]
        ),
        "txn": pa.struct([_required("appId", pa.string()), _required("version", pa.int64())]),
        "add": pa.struct(
            [
                _required("path", pa.string()),
                _required("partitionValues", _WORDS),
                _required("size", pa.int64()),
                _required("modificationTime", pa.int64()),
                _required("dataChange", pa.bool_()),
                pa.field("stats", pa.string()),
                pa.field("tags", _WORDS),
            ]
        ),
        "remove": pa.struct(
            [
                _required("path", pa.string()),
                pa.field("deletionTimestamp", pa.int64()),
                _required("dataChange", pa.bool_()),
                pa.field("extendedFileMetadata", pa.bool_()),
                pa.field("partitionValues", _WORDS),
                pa.field("size", pa.int64()),
                pa.field("tags", _WORDS),
            ]
        ),
    }
)
"""Columns of Delta's checkpoints (version 1), as far as our entries have use for them."""
_KEYS = {"txn": "appId", "add": "path", "remove": "path"}
"""What tells actions of a kind apart; of the other kinds there is one."""
_SUBJECT = {"add": "file", "remove": "file"}
"""Of actions about the same file only the last one holds."""


def checkpoint_of(base: bytes | None, actions: Iterable[Action]) -> tuple[bytes, int]:
    """The checkpoint after `actions`, and the number of its rows.

    The actions go on from the checkpoint `base`, or from nothing. Those of a kind that is not in
    `SCHEMA` have no part in a checkpoint. Raises as `actions_in` does for the base.
    """
    last: dict[tuple[str, str], Action] = {}
    for action in actions:
        for about in _about(action):
            # Taken out first: the order is that of the last action about a thing.
            last.pop(about, None)
            last[about] = action
    earlier = actions_in(base, SCHEMA.names) if base is not None else ()
    hold = chain((row for row in earlier if last.keys().isdisjoint(_about(row))), last.values())
    sink = pa.BufferOutputStream()
    num_rows = 0
    with pq.ParquetWriter(sink, SCHEMA, compression="zstd", write_page_checksum=True) as writer:
        while some := list(islice(hold, _ACTIONS_AT_ONCE)):
            writer.write_batch(pa.RecordBatch.from_pylist(some, schema=SCHEMA))
            num_rows += len(some)
    return sink.getvalue().to_pybytes(), num_rows


def actions_in(data: bytes, kinds: Sequence[str]) -> Iterator[Action]:
    """Actions of these kinds in a checkpoint; raises `ValueError` or `OSError` for what is none."""
    file = pq.ParquetFile(pa.BufferReader(data))
    for batch in file.iter_batches(_ACTIONS_AT_ONCE, columns=kinds, use_threads=False):
        yield from batch.to_pylist()


def _about(action: Action) -> Iterator[tuple[str, str]]:
    """What an action is about: of all that are about the same only the last one holds."""
    for kind in SCHEMA.names:
        if said := action.get(kind):
            yield _SUBJECT.get(kind, kind), said[_KEYS[kind]] if kind in _KEYS else ""
