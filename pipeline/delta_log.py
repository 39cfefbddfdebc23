"""Entries of a Delta log as bytes: one JSON action a line, under a checksum of their own.

An entry is written whole here and not through `deltalake`, which syncs nothing, cannot carry a
file's hash and lets two creators of a table make two first entries (README.md has the figures).
What stands in it is plain Delta: any reader of that format reads the tables.
"""

import hashlib
import json
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deltalake import Schema

from pipeline.store import DataFile
from schemas.errors import OutputError

PARTITION = "table"
TABLE_FOLDER = "manifest"
"""The Delta table's folder under the store's root; names in an entry are relative to it."""
EPOCH_ID = "audiomill-epoch"
"""Application id whose version is the epoch; every other one is a unit's."""
_OURS = "audiomill"
_PREFIX = f"{TABLE_FOLDER}/"
_NO_CHECKSUM = b"0" * 64
"""Stands where the checksum goes while the checksum is taken."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What an entry says; several put together, as a checkpoint does, say it of all of them."""

    units: frozenset[str]
    epoch: int | None
    files: tuple[DataFile, ...]
    removed: frozenset[str] = frozenset()
    """Names of files that earlier entries named, and nobody from here on."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """Files of one unit that go together, and those that come in their place.

    A shard goes and comes with the files that tell of it.
    """

    gone: tuple[DataFile, ...]
    new: tuple[DataFile, ...]


def entry_name(number: int) -> str:
    return f"{number:020}.json"


def number_of(name: str) -> int | None:
    """The number of the entry that a file of the log holds; None for any other file."""
    stem, ending = name[:20], name[20:]
    return int(stem) if ending == ".json" and stem.isdecimal() else None


def first_entry(schema: Schema, name: str) -> bytes:
    """The entry that makes an empty table, partitioned by `PARTITION`."""
    metadata = {
        "id": str(uuid.uuid4()),
        "name": name,
        "format": {"provider": "parquet", "options": {}},
        "schemaString": schema.to_json(),
        "partitionColumns": [PARTITION],
        "createdTime": _now_ms(),
        # The entries are the truth and stay; a checkpoint is a copy that saves time.
        "configuration": {"delta.enableExpiredLogCleanup": "false"},
    }
    protocol = {"minReaderVersion": 1, "minWriterVersion": 2}
    return _to_bytes("CREATE TABLE", [{"protocol": protocol}, {"metaData": metadata}])


def unit_entry(unit: str, files: Sequence[DataFile], epoch: int) -> bytes:
    """The entry that makes a unit's files exist.

    Files outside the table's folder (shards) are no rows of it: the first file inside carries them
    as a tag, so there must be one. Files without rows are left out.
    """
    return _to_bytes("WRITE", [*_adds(files), *_transactions(unit, epoch)])


def replacing_entry(
    unit: str, replacements: Iterable[Replacement], files: Sequence[DataFile], epoch: int
) -> bytes:
    """The entry that puts files in the place of others, and makes a unit's own files exist."""
    actions = []
    for replacement in replacements:
        actions += [*_removes(replacement.gone), *_adds(replacement.new)]
    return _to_bytes("DELETE", [*actions, *_adds(files), *_transactions(unit, epoch)])


def read_entry(where: str, data: bytes) -> Entry:
    """What an entry says; raises `OutputError` if a byte of it is not as it was written."""
    return entry_of(actions_of(where, data))


def actions_of(where: str, data: bytes) -> list[dict[str, Any]]:
    """The actions of an entry; raises `OutputError` if a byte of it is not as it was written."""
    try:
        head, *actions = [json.loads(line) for line in data.splitlines()]
        said = head["commitInfo"][_OURS]["sha256"]
        if said != _checksum(data.replace(said.encode(), _NO_CHECKSUM, 1)):
            raise ValueError("its checksum disagrees")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError(
            f"{where}: the entry is damaged or another program wrote it ({error!r}); restore it "
            "from a backup, or run the job into a new output"
        ) from error
    return actions


def entry_of(actions: Iterable[Mapping[str, Any]]) -> Entry:
    """What Delta actions say, from an entry or from a checkpoint's rows."""
    units, files, removed, epoch = set(), [], set(), None
    for action in actions:
        if txn := action.get("txn"):
            if txn["appId"] == EPOCH_ID:
                epoch = int(txn["version"])
            else:
                units.add(str(txn["appId"]))
        if add := action.get("add"):
            tags = dict(add["tags"])
            num_rows = json.loads(add["stats"])["numRecords"]
            files.append(DataFile(_PREFIX + add["path"], num_rows, add["size"], tags["sha256"]))
            files += _listed(tags)
        if remove := action.get("remove"):
            removed |= {_PREFIX + remove["path"]}
            removed |= {file.name for file in _listed(dict(remove.get("tags") or {}))}
    return Entry(frozenset(units), epoch, tuple(files), frozenset(removed))


def _adds(files: Sequence[DataFile]) -> list[dict[str, Any]]:
    """Actions that make files exist; the first inside the table carries those outside of it."""
    return [
        {
            "add": {
                **_what(file, outside),
                "modificationTime": _now_ms(),
                "stats": json.dumps({"numRecords": file.num_rows}),
            }
        }
        for file, outside in _carriers(files)
    ]


def _removes(files: Sequence[DataFile]) -> list[dict[str, Any]]:
    """Actions by which files are named no more."""
    return [
        {
            "remove": {
                **_what(file, outside),
                "deletionTimestamp": _now_ms(),
                "extendedFileMetadata": True,
            }
        }
        for file, outside in _carriers(files)
    ]


def _carriers(files: Sequence[DataFile]) -> list[tuple[DataFile, list[DataFile]]]:
    """Files inside the table, each with those outside of it that it carries."""
    inside = [f for f in files if f.name.startswith(_PREFIX) and f.num_rows]
    outside = [f for f in files if not f.name.startswith(_PREFIX)]
    if outside and not inside:
        raise ValueError(f"{outside[0].name} needs a row in a table that tells of it")
    return [(file, [] if index else outside) for index, file in enumerate(inside)]


def _what(file: DataFile, outside: Sequence[DataFile]) -> dict[str, Any]:
    """What an action of either kind says of a file."""
    path = file.name.removeprefix(_PREFIX)
    folder = path.partition("/")[0]
    tags = {"sha256": file.sha256}
    if outside:
        listed = [[f.name, f.num_rows, f.size_bytes, f.sha256] for f in outside]
        tags["outside"] = json.dumps(listed)
    return {
        "path": path,
        "partitionValues": {PARTITION: folder.removeprefix(f"{PARTITION}=")},
        "size": file.size_bytes,
        "dataChange": True,
        "tags": tags,
    }


def _listed(tags: Mapping[str, str]) -> list[DataFile]:
    """Files outside the table that one inside carries."""
    return [DataFile(*values) for values in json.loads(tags.get("outside", "[]"))]


def _transactions(unit: str, epoch: int) -> list[dict[str, Any]]:
    return [
        {"txn": {"appId": unit, "version": 1}},
        {"txn": {"appId": EPOCH_ID, "version": epoch}},
    ]


def _to_bytes(operation: str, actions: Sequence[Mapping[str, Any]]) -> bytes:
    info = {
        "timestamp": _now_ms(),
        "operation": operation,
        "operationParameters": {"mode": "Append"} if operation == "WRITE" else {},
        "engineInfo": _OURS,
        _OURS: {"sha256": _NO_CHECKSUM.decode()},
    }
    lines = [json.dumps(action) + "\n" for action in ({"commitInfo": info}, *actions)]
    data = "".join(lines).encode()
    return data.replace(_NO_CHECKSUM, _checksum(data).encode(), 1)


def _checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _now_ms() -> int:
    """For people who look into the log; nothing is decided by it."""
    return int(time.time() * 1000)
