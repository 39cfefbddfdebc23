"""Shards in the formats of other loaders: one sample a segment, written by their own packages."""

# Shapes: C codebooks, F frames.

import importlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from model.loader.committed import open_committed
from model.loader.range_cache import RangeCache
from model.loader.shard import Shard
from schemas.codes import Codes
from schemas.errors import EngineMissingError, OutputError, SpecError

COLUMNS = (
    *("recording_id", "speaker", "start_sample", "end_sample", "sample_rate_hz"),
    *("language", "text", "caption_en", "caption_zh", "num_frames"),
)
FILE_BYTES = 64 << 20
PINS = {
    "webdataset": "webdataset==1.0.2",
    "mds": "mosaicml-streaming==0.13.0",
    "litdata": "litdata==0.2.76",
}
_MODULES = {
    "webdataset": "webdataset",
    "mds": "streaming",
    "litdata": "litdata.streaming.writer",
}


@dataclass(frozen=True, slots=True)
class ExportedRow:
    """A segment as every format gets it."""

    segment_id: str
    codes: Codes
    """`[C, F]` uint16."""
    metadata: Mapping[str, object]
    """The other columns of the shard, as JSON values."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    num_rows: int
    num_frames: int


Write = Callable[[ExportedRow], None]


def export_shards(uri: str, target: Path, *, to: str, file_bytes: int = FILE_BYTES) -> Exported:
    """Writes every committed segment of the output at `uri` into the new folder `target`.

    `to` is `webdataset` (tar files), `mds` or `litdata`; files are of about `file_bytes`. The
    target appears when it is whole. Raises `EngineMissingError` where the format's package is not
    installed, `OutputError` for shards or a target that cannot be used.
    """
    if to not in WRITERS:
        raise SpecError(f"--to {to}: wanted one of {', '.join(WRITERS)}")
    package = _package(to)
    if target.exists():
        raise OutputError(f"{target}: is there already; name a folder that is not")
    target.parent.mkdir(parents=True, exist_ok=True)
    num_rows = num_frames = 0
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
        part = Path(scratch) / "part"
        part.mkdir()
        with WRITERS[to](package, part, file_bytes) as write:
            for row in _rows(uri, Path(scratch) / "cache"):
                write(row)
                num_rows += 1
                num_frames += row.codes.shape[1]
        shutil.move(part, target)
    return Exported(num_rows, num_frames)


def _rows(uri: str, cache_folder: Path) -> Iterator[ExportedRow]:
    committed = open_committed(uri, RangeCache(cache_folder, max_bytes=0))
    for number in range(committed.num_files):
        shard = Shard(committed.storage, committed.file(number), committed.tokenizer)
        for group in range(len(shard.rows_of_groups)):
            rows = shard.group(group, COLUMNS, committed.num_codebooks)
            for row, metadata in enumerate(rows.table.to_pylist()):
                segment_id = str(metadata.pop("segment_id"))
                yield ExportedRow(segment_id, np.ascontiguousarray(rows.codes(row)), metadata)


def _package(to: str) -> ModuleType:
    try:
        return importlib.import_module(_MODULES[to])
    except ImportError as error:
        raise EngineMissingError(
            f"--to {to}: the package is not installed ({error}); in an environment of its own or "
            f"in this one: uv pip install '{PINS[to]}' (see [dependency-groups] peers in "
            "pyproject.toml)"
        ) from error


@contextmanager
def _webdataset(package: ModuleType, folder: Path, file_bytes: int) -> Iterator[Write]:
    """`shard-000000.tar`, ...: `ID.codes.npy` and `ID.json` a segment."""
    pattern = str(folder / "shard-%06d.tar")
    with package.ShardWriter(pattern, maxcount=1 << 40, maxsize=file_bytes, verbose=0) as writer:

        def write(row: ExportedRow) -> None:
            writer.write(
                {"__key__": row.segment_id, "codes.npy": row.codes, "json": dict(row.metadata)}
            )

        yield write


@contextmanager
def _mds(package: ModuleType, folder: Path, file_bytes: int) -> Iterator[Write]:
    """Columns `segment_id`, `codes` and `metadata`, SHA-1 per file."""
    columns = {"segment_id": "str", "codes": "ndarray:uint16", "metadata": "json"}
    with package.MDSWriter(
        out=str(folder), columns=columns, hashes=["sha1"], size_limit=file_bytes
    ) as writer:

        def write(row: ExportedRow) -> None:
            writer.write(
                {
                    "segment_id": row.segment_id,
                    "codes": row.codes,
                    "metadata": dict(row.metadata),
                }
            )

        yield write


@contextmanager
def _litdata(package: ModuleType, folder: Path, file_bytes: int) -> Iterator[Write]:
    """Items with `segment_id`, `codes` and `metadata` (JSON) in one process's chunks."""
    writer = package.BinaryWriter(str(folder), chunk_bytes=file_bytes)
    number = 0

    def write(row: ExportedRow) -> None:
        nonlocal number
        metadata = json.dumps(dict(row.metadata), ensure_ascii=False)
        writer.add_item(
            number, {"segment_id": row.segment_id, "codes": row.codes, "metadata": metadata}
        )
        number += 1

    yield write
    writer.done()
    writer.merge()


WRITERS: Mapping[str, Callable[[ModuleType, Path, int], AbstractContextManager[Write]]] = {
    "webdataset": _webdataset,
    "mds": _mds,
    "litdata": _litdata,
}
"""One for each format: gives what writes a row."""
