"""Shards in the formats of other loaders, one sample a segment, without their packages."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.loader.committed import open_committed
from model.loader.export_formats import FORMATS, ExportedRow
from model.loader.into_place import into_place
from model.loader.range_cache import RangeCache
from model.loader.shard import Shard
from schemas.errors import OutputError, SpecError, StorageError

COLUMNS = (
    *("recording_id", "speaker", "start_sample", "end_sample", "sample_rate_hz"),
    *("language", "text", "caption_en", "caption_zh", "num_frames"),
)
FILE_BYTES = 64 << 20
_MOST_FILE_BYTES = 1 << 31  # MDS and LitData have offsets of 32 bits


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    num_rows: int
    num_frames: int
    num_files: int
    """Without the index."""


def export_shards(uri: str, target: Path, *, format: str, file_bytes: int = FILE_BYTES) -> Exported:
    """Writes every committed segment of the output at `uri` into the new folder `target`.

    `format` is one of `FORMATS`: `webdataset`, `mds` or `litdata`. No file but one of a single
    segment is above `file_bytes` (1 to 2^31; a tar's padding comes on top). The target appears when
    it is whole. Raises `SpecError` for a format that is not known, `OutputError` for shards or a
    target that cannot be used, `StorageError` where it cannot be written.
    """
    if format not in FORMATS:
        raise SpecError(f"--format {format}: wanted one of {', '.join(FORMATS)}")
    if not 0 < file_bytes <= _MOST_FILE_BYTES:
        raise SpecError(f"files of {file_bytes} bytes: wanted 1 to {_MOST_FILE_BYTES}")
    if target.exists():
        raise OutputError(f"{target}: is there already; name a folder that is not")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
            part = Path(scratch) / "part"
            part.mkdir()
            found = _export(uri, part, Path(scratch) / "cache", format, file_bytes)
            into_place(part, target)
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            f"{target}: cannot be written ({error.strerror or error}); make room, or name another "
            "folder"
        ) from error
    return found


def _export(uri: str, folder: Path, cache: Path, format: str, file_bytes: int) -> Exported:
    num_rows = num_frames = 0
    with FORMATS[format](folder, file_bytes) as files:
        for row in _rows(uri, cache):
            files.write(row)
            num_rows += 1
            num_frames += row.codes.shape[1]
    return Exported(num_rows, num_frames, files.num_files)


def _rows(uri: str, cache_folder: Path) -> Iterator[ExportedRow]:
    committed = open_committed(uri, RangeCache(cache_folder, max_bytes=0))
    for number in range(committed.num_files):
        shard = Shard(committed.storage, committed.file(number), committed.tokenizer)
        for group in range(len(shard.rows_of_groups)):
            rows = shard.group(group, COLUMNS, committed.num_codebooks)
            for row, metadata in enumerate(rows.table.to_pylist()):
                segment_id = str(metadata.pop("segment_id"))
                yield ExportedRow(segment_id, np.ascontiguousarray(rows.codes(row)), metadata)
