"""A committed shard, opened: row groups with their metadata columns and codes, all verified."""

# Shapes: C codebooks, F frames of a row group.

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from model.loader.blocks import CODE_BLOCKS
from model.loader.code_column import read_column
from model.loader.committed import ShardFile
from model.loader.pages import PageError
from model.loader.storage import Storage
from schemas.codes import Codes
from schemas.errors import OutputError
from schemas.tokens import FINGERPRINT_KEY, NUM_CODEBOOKS_KEY

_TAIL_BYTES = 1 << 16
"""Read first from the end; a footer of four row groups takes about a third of it."""
_MAGIC = b"PAR1"
_ENDING_BYTES = 8


@dataclass(frozen=True)
class GroupRows:
    """Rows of a row group: columns as asked for, always with `segment_id` and `num_frames`."""

    table: pa.Table
    """One chunk a column."""
    all_codes: Codes
    """Codes `[C, F]` of all rows, one after the other; `[0, F]` where none were asked for."""
    _lists: dict[str, list[object]] = field(default_factory=dict, init=False, repr=False)

    @property
    def num_rows(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def starts(self) -> list[int]:
        """Frames before each row, and in all."""
        return [0, *np.cumsum(self.table["num_frames"].to_numpy(), dtype=np.int64).tolist()]

    def codes(self, row: int, first: int = 0, length: int | None = None) -> Codes:
        """Codes `[C, frames]` of a row, or of `length` frames of it from `first` on; a view."""
        start = self.starts[row] + first
        stop = self.starts[row + 1] if length is None else start + length
        return self.all_codes[:, start:stop]

    def value(self, column: str, row: int) -> object:
        """What a row has in a column, as a Python value."""
        if column not in self._lists:
            # A column at once takes a fortieth of the time that its values take one by one.
            self._lists[column] = self.table[column].to_pylist()
        return self._lists[column][row]


class Shard:
    """Reads the footer of a shard; raises `OutputError` unless it is the file that was committed.

    `tokenizer` is the fingerprint that its codes must have.
    """

    def __init__(self, storage: Storage, file: ShardFile, tokenizer: str) -> None:
        self._storage, self.file = storage, file
        self._metadata = self._read_footer()
        facts = self._metadata.metadata or {}
        if facts.get(FINGERPRINT_KEY, b"").decode() != tokenizer:
            raise self._damaged(
                "its head names another tokenizer than the manifest does",
                "tokenize again, and never mix the files of two outputs",
            )
        self._num_codebooks = int(facts.get(NUM_CODEBOOKS_KEY, b"0"))
        if self._metadata.num_rows != file.num_rows:
            raise self._damaged(f"{self._metadata.num_rows} rows, committed were {file.num_rows}")
        self._columns = {
            self._metadata.schema.column(number).path.partition(".")[0]: number
            for number in range(self._metadata.num_columns)
        }

    @property
    def rows_of_groups(self) -> list[int]:
        """Number of rows of each row group."""
        metadata = self._metadata
        return [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]

    def group(self, number: int, columns: Sequence[str], num_codebooks: int) -> GroupRows:
        """A row group: those columns, and the first codebooks. Raises `OutputError` for damage."""
        wanted, layers = _wanted(columns), _layers(num_codebooks)
        start, stop = self._extent(number, (*wanted, *layers))
        data = self._storage.read(self.file.name, start, stop, sha256=self.file.sha256)
        part = _Part(data, start, self.file.size_bytes)
        table = self._arrow(part, number, wanted).combine_chunks()
        codes_CF = CODE_BLOCKS.lend(num_codebooks, self._num_frames(table))
        for layer, name in enumerate(layers):
            if not self._read_codes(number, name, data, start, codes_CF[layer]):
                codes_CF[layer] = self._read_codes_by_arrow(number, name, part, table)
        return GroupRows(table, codes_CF)

    def will_need(self, number: int, columns: Sequence[str], num_codebooks: int) -> None:
        """Says that a row group of a local shard will be asked for soon."""
        extent = self._extent(number, (*_wanted(columns), *_layers(num_codebooks)))
        self._storage.will_need(self.file.name, *extent)

    def _read_footer(self) -> pq.FileMetaData:
        size = self.file.size_bytes
        tail_bytes = min(size, _TAIL_BYTES)
        while True:
            start = size - tail_bytes
            tail = self._storage.read(self.file.name, start, size, sha256=self.file.sha256)
            footer_bytes = int.from_bytes(tail[-_ENDING_BYTES:-4], "little") + _ENDING_BYTES
            if tail[-4:] != _MAGIC or footer_bytes > size:
                raise self._damaged("its end is not that of a Parquet file")
            if footer_bytes <= tail_bytes:
                break
            tail_bytes = footer_bytes
        try:
            return pq.read_metadata(pa.PythonFile(_Part(tail, start, size), mode="r"))
        except (OSError, pa.ArrowException) as error:
            raise self._damaged(f"its footer cannot be read ({error})") from error

    def _extent(self, number: int, names: Sequence[str]) -> tuple[int, int]:
        """Bytes from the first of these columns to the last: they stand side by side."""
        for name in names:
            if name not in self._columns:
                raise self._damaged(
                    f"no column {name!r}, only {', '.join(self._columns)}",
                    "ask for columns that the shards have, or write them again",
                )
        extents = [self._chunk_extent(number, name) for name in names]
        return min(start for start, _ in extents), max(stop for _, stop in extents)

    def _chunk_extent(self, number: int, name: str) -> tuple[int, int]:
        chunk = self._metadata.row_group(number).column(self._columns[name])
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        return start, start + chunk.total_compressed_size

    def _read_codes(
        self, number: int, name: str, view: memoryview, start: int, out_F: Codes
    ) -> bool:
        chunk = self._metadata.row_group(number).column(self._columns[name])
        first, stop = self._chunk_extent(number, name)
        deepest = self._metadata.schema.column(self._columns[name]).max_definition_level
        try:
            return read_column(
                view[first - start : stop - start], chunk.compression, deepest, out_F
            )
        except PageError as error:
            raise self._damaged(f"row group {number}, column {name}: {error}") from error

    def _read_codes_by_arrow(
        self, number: int, name: str, part: "_Part", table: pa.Table
    ) -> npt.NDArray[np.uint16]:
        lists = self._arrow(part, number, [name])[name].combine_chunks()
        lengths = pa.compute.list_value_length(lists)
        frames = pa.compute.cast(table["num_frames"].combine_chunks(), lengths.type)
        values = lists.flatten()
        if not lengths.equals(frames) or values.null_count:
            raise self._damaged(
                f"row group {number}, column {name}: not num_frames codes in every row"
            )
        found: npt.NDArray[np.uint16] = values.to_numpy(zero_copy_only=False)
        return found

    def _arrow(self, part: "_Part", number: int, names: Sequence[str]) -> pa.Table:
        try:
            source = pa.PythonFile(part, mode="r")
            # Not buffered ahead: Arrow's threads would hold on to Python's memory, and a process
            # that ends while one lets go of it is aborted.
            with pq.ParquetFile(
                source,
                metadata=self._metadata,
                page_checksum_verification=True,
                pre_buffer=False,
            ) as file:
                return file.read_row_group(number, columns=list(names), use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise self._damaged(f"row group {number}, {', '.join(names)}: {error}") from error

    def _num_frames(self, table: pa.Table) -> int:
        return int(table["num_frames"].to_numpy().sum(dtype=np.int64))

    def _damaged(self, what: str, remedy: str | None = None) -> OutputError:
        return OutputError(
            f"{self._storage.inside(self.file.name)}: {what}; "
            f"{remedy or 'restore the file (and empty the cache, if it came through one)'}"
        )


def _wanted(columns: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(["segment_id", "num_frames", *columns]))


def _layers(num_codebooks: int) -> list[str]:
    return [f"q{layer}" for layer in range(num_codebooks)]


class _Part(io.RawIOBase):
    """A file of `size` bytes of which only `data`, from `start` on, is at hand."""

    def __init__(self, data: memoryview, start: int, size: int) -> None:
        super().__init__()
        self._data, self._start, self._size, self._at = data, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = origin + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        first = self._at - self._start
        if first < 0 or size < 0:
            raise OSError(f"bytes from {self._at} on were not read from the store")
        found = bytes(self._data[first : first + size])  # Arrow may hold on to it
        self._at += len(found)
        return found
