"""WebDataset, MDS and LitData as their readers want them: the files, and the index beside them.

Formats: webdataset 1.0 (a POSIX tar; files of one stem are a sample), mosaicml-streaming 0.13 (MDS
version 2), litdata 0.2.76 (PyTreeLoader). A segment is its id, its codes and the other columns of
the shard as JSON.
"""

# Shapes: C codebooks, F frames.

import hashlib
import io
import json
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from schemas.codes import Codes

_TAR_BLOCK = 512
_LITDATA_UINT16 = 5  # place of the type in litdata's table


@dataclass(frozen=True, slots=True)
class ExportedRow:
    """A segment as every format gets it."""

    segment_id: str
    codes: Codes
    """`[C, F]` uint16."""
    metadata: Mapping[str, object]
    """The other columns of the shard, as JSON values."""

    def metadata_json(self, *, ascii_only: bool = False) -> bytes:
        return json.dumps(dict(self.metadata), ensure_ascii=ascii_only).encode()


class Files(ABC):
    """Files of at most `file_bytes`, begun anew where a row would not fit; then the index.

    As a context: leaving it writes what is left, unless by an error.
    """

    def __init__(self, folder: Path, file_bytes: int) -> None:
        self._folder, self._file_bytes = folder, file_bytes
        self._waiting: list[bytes] = []
        self._size = 0
        self.num_files = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self._flush()
            self._finish()

    def write(self, row: ExportedRow) -> None:
        """The next sample."""
        sample = self._encode(row)
        size = len(sample) + self._per_sample
        if self._waiting and self._per_file + self._size + size > self._file_bytes:
            self._flush()
        self._waiting.append(sample)
        self._size += size

    def _flush(self) -> None:
        if self._waiting:
            self._write_file(self._waiting)
            self.num_files += 1
            self._waiting, self._size = [], 0

    @property
    def _per_sample(self) -> int:
        """Bytes of a file for each sample, beside the sample."""
        return 0

    @property
    def _per_file(self) -> int:
        """The same for each file."""
        return 0

    @abstractmethod
    def _encode(self, row: ExportedRow) -> bytes: ...

    @abstractmethod
    def _write_file(self, samples: list[bytes]) -> None: ...

    @abstractmethod
    def _finish(self) -> None: ...


class WebDatasetFiles(Files):
    """`shard-000000.tar`, ...: `ID.codes.npy` and `ID.json` a segment; no index."""

    def _encode(self, row: ExportedRow) -> bytes:
        codes = io.BytesIO()
        np.save(codes, row.codes)
        parts = {"codes.npy": codes.getvalue(), "json": row.metadata_json()}
        entries = b""
        for ending, content in parts.items():
            entry = tarfile.TarInfo(f"{row.segment_id}.{ending}")
            entry.size, entry.mode = len(content), 0o644
            padding = bytes(-len(content) % _TAR_BLOCK)
            entries += entry.tobuf(tarfile.USTAR_FORMAT) + content + padding
        return entries

    @property
    def _per_file(self) -> int:
        return 2 * _TAR_BLOCK

    def _write_file(self, samples: list[bytes]) -> None:
        content = b"".join(samples) + bytes(2 * _TAR_BLOCK)
        content += bytes(-len(content) % tarfile.RECORDSIZE)
        (self._folder / f"shard-{self.num_files:06d}.tar").write_bytes(content)

    def _finish(self) -> None:
        """Nothing: readers are given the names of the tar files."""


class MdsFiles(Files):
    """`shard.00000.mds`, ...: columns `codes`, `metadata` and `segment_id`; SHA-1 in the index."""

    def __init__(self, folder: Path, file_bytes: int) -> None:
        super().__init__(folder, file_bytes)
        self._columns = {
            "column_encodings": ["ndarray:uint16", "json", "str"],
            "column_names": ["codes", "metadata", "segment_id"],
            "column_sizes": [None, None, None],
            "compression": None,
            "format": "mds",
            "hashes": ["sha1"],
            "size_limit": file_bytes,
            "version": 2,
        }
        self._header = json.dumps(self._columns, sort_keys=True).encode()
        self._shards: list[dict[str, Any]] = []

    def _encode(self, row: ExportedRow) -> bytes:
        shape = row.codes.shape
        # The shape comes in the narrowest type that holds it, the type's exponent before it.
        exponent = 0 if max(shape) < 1 << 8 else 1 if max(shape) < 1 << 16 else 2
        head = bytes([len(shape) << 2 | exponent])
        sizes = np.array(shape, f"<u{1 << exponent}").tobytes()
        codes = head + sizes + row.codes.astype("<u2").tobytes()
        return _with_sizes([codes, row.metadata_json(ascii_only=True), row.segment_id.encode()])

    @property
    def _per_sample(self) -> int:
        return 4

    @property
    def _per_file(self) -> int:
        return 8 + len(self._header)

    def _write_file(self, samples: list[bytes]) -> None:
        content = _with_offsets(samples, self._header)
        name = f"shard.{self.num_files:05d}.mds"
        (self._folder / name).write_bytes(content)
        sha1 = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        raw = {"basename": name, "bytes": len(content), "hashes": {"sha1": sha1}}
        self._shards.append(
            self._columns | {"raw_data": raw, "samples": len(samples), "zip_data": None}
        )

    def _finish(self) -> None:
        _write_index(self._folder, {"shards": self._shards, "version": 2})


class LitDataFiles(Files):
    """`chunk-0-0.bin`, ...: items with `segment_id`, `codes` and `metadata`, a JSON string."""

    def __init__(self, folder: Path, file_bytes: int) -> None:
        super().__init__(folder, file_bytes)
        self._chunks: list[dict[str, Any]] = []
        self._hash = hashlib.sha256()

    def _encode(self, row: ExportedRow) -> bytes:
        head = np.array([_LITDATA_UINT16, row.codes.ndim, *row.codes.shape], "<u4").tobytes()
        codes = head + row.codes.astype("<u2").tobytes()
        return _with_sizes([row.segment_id.encode(), codes, row.metadata_json()])

    @property
    def _per_sample(self) -> int:
        return 4

    @property
    def _per_file(self) -> int:
        return 8

    def _write_file(self, samples: list[bytes]) -> None:
        content = _with_offsets(samples)
        name = f"chunk-0-{self.num_files}.bin"
        (self._folder / name).write_bytes(content)
        self._hash.update(content)
        self._chunks.append(
            {
                "chunk_bytes": len(content),
                "chunk_size": len(samples),
                "dim": None,
                "filename": name,
            }
        )

    def _finish(self) -> None:
        leaf: dict[str, object] = {"type": None, "context": None, "children_spec": []}
        keys = json.dumps(["segment_id", "codes", "metadata"])
        tree = {"type": "builtins.dict", "context": keys, "children_spec": [leaf] * 3}
        config = {
            "chunk_bytes": self._file_bytes,
            "chunk_size": None,
            "compression": None,
            "data_format": ["str", "numpy", "str"],
            "data_spec": json.dumps([1, tree]),
            "encryption": None,
            "item_loader": "PyTreeLoader",
        }
        # Readers tell by this whether what they have in their cache is still what is there.
        state = self._hash.hexdigest()
        _write_index(self._folder, {"chunks": self._chunks, "config": config, "updated_at": state})


def _with_sizes(parts: list[bytes]) -> bytes:
    """The size of each part, then the parts."""
    return np.array([len(part) for part in parts], "<u4").tobytes() + b"".join(parts)


def _with_offsets(samples: list[bytes], header: bytes = b"") -> bytes:
    """How many samples, where each begins and the last ends, the header, the samples."""
    ends = np.cumsum([0, *map(len, samples)])
    offsets = ends + 4 + 4 * len(ends) + len(header)
    count = np.array([len(samples)], "<u4").tobytes()
    return b"".join([count, offsets.astype("<u4").tobytes(), header, *samples])


def _write_index(folder: Path, content: Mapping[str, object]) -> None:
    (folder / "index.json").write_text(json.dumps(content, sort_keys=True), encoding="utf-8")


FORMATS: Mapping[str, type[Files]] = {
    "webdataset": WebDatasetFiles,
    "mds": MdsFiles,
    "litdata": LitDataFiles,
}
