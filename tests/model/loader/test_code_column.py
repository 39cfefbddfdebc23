"""Codes read without Arrow are those that Arrow reads, and damage is damage to both."""

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.loader.bit_packing import Dictionary, read_hybrid, unpack
from model.loader.code_column import read_column
from model.loader.pages import PageError, pages_of


def chunk_of(
    values: Sequence[Sequence[int | None]], path: Path, **more: object
) -> tuple[memoryview, str]:
    """The column chunk that Arrow writes of these lists, and its codec."""
    table = pa.table({"q0": pa.array(values, pa.list_(pa.uint16()))})
    written = {"compression": "zstd", "write_page_checksum": True} | more
    pq.write_table(table, path, **written)
    column = pq.read_metadata(path).row_group(0).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    data = path.read_bytes()
    return memoryview(data)[start : start + column.total_compressed_size], column.compression


def read(chunk: memoryview, codec: str, num_frames: int) -> list[int] | None:
    out = np.full(num_frames, 9999, np.uint16)
    return out.tolist() if read_column(chunk, codec, 3, out) else None


runs = st.lists(st.tuples(st.integers(0, 1023), st.integers(1, 30)), min_size=1, max_size=60)


@settings(deadline=None, max_examples=60)
@given(runs, st.integers(0, 2000), st.sampled_from(["zstd", "none"]))
def test_codes_with_and_without_runs_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    runs: list[tuple[int, int]],
    noise: int,
    compression: str,
) -> None:
    path = tmp_path_factory.getbasetemp() / "runs.parquet"
    repeated = [value for value, often in runs for _ in range(often)]
    row = repeated + np.random.default_rng(noise).integers(0, 900, noise).tolist()
    chunk, codec = chunk_of([row, row[:7]], path, compression=compression)
    found = read(chunk, codec, len(row) + len(row[:7]))
    assert found in (row + row[:7], None)
    assert found is not None or len(runs) > 16


def test_long_columns_in_several_pages_come_back(tmp_path: Path) -> None:
    codes = np.random.default_rng(0).integers(0, 1024, 60_000)
    rows = codes.reshape(200, 300).tolist()
    more = {"data_page_size": 4096, "write_batch_size": 16}
    chunk, codec = chunk_of(rows, tmp_path / "x.parquet", **more)
    assert len(list(pages_of(chunk))) > 10
    assert read(chunk, codec, len(codes)) == codes.tolist()


@pytest.mark.parametrize(
    ("values", "more"),
    [
        ([[1, None, 3]], {}),
        ([[1, 2], []], {}),
        ([[1, 2, 3]], {"use_dictionary": False}),
        ([[1, 2, 3]], {"compression": "gzip"}),
        ([[1, 2, 3]], {"data_page_version": "2.0"}),
    ],
)
def test_what_pipelines_do_not_write_is_left_to_arrow(
    tmp_path: Path, values: list[list[int | None]], more: dict[str, object]
) -> None:
    chunk, codec = chunk_of(values, tmp_path / "x.parquet", **more)
    assert read(chunk, codec, sum(map(len, values))) is None


def test_a_wrong_number_of_codes_is_not_taken(tmp_path: Path) -> None:
    chunk, codec = chunk_of([[1, 2, 3, 4]], tmp_path / "x.parquet")
    assert read(chunk, codec, 4) == [1, 2, 3, 4]
    assert read(chunk, codec, 3) is None
    assert read(chunk, codec, 5) is None


def test_every_flipped_bit_of_a_page_is_seen(tmp_path: Path) -> None:
    row = np.random.default_rng(1).integers(0, 1024, 300).tolist()
    chunk, codec = chunk_of([row], tmp_path / "x.parquet")
    for offset in range(0, len(chunk), 7):
        damaged = bytearray(chunk)
        damaged[offset] ^= 1 << offset % 8
        try:
            found = read(memoryview(damaged), codec, len(row))
        except PageError:
            continue
        # A header is not under the checksum: what it says may be lost, but no code is another.
        assert found in (row, None)


def test_pages_without_checksums_are_refused(tmp_path: Path) -> None:
    chunk, codec = chunk_of([[1, 2, 3]], tmp_path / "x.parquet", write_page_checksum=False)
    with pytest.raises(PageError, match="a page without a checksum"):
        read(chunk, codec, 3)


@settings(deadline=None)
@given(st.integers(1, 16), st.integers(0, 5000))
def test_indices_of_any_width_are_looked_up(width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    codes = random.integers(0, 60_000, 1 + seed % (1 << width)).astype(np.uint16)
    indices = random.integers(0, len(codes), 8 * (seed % 40)).astype(np.uint64)
    bits = (indices[:, None] >> np.arange(width, dtype=np.uint64)) & np.uint64(1)
    packed = np.packbits(bits.astype(np.uint8).reshape(-1), bitorder="little")
    packed = np.append(packed, np.full(8, seed % 256, np.uint8))
    out = np.zeros(max(0, len(indices) - seed % 8), np.uint16)
    unpack(packed, Dictionary(codes, width), out)
    assert out.tolist() == codes[indices][: len(out)].tolist()


def test_an_index_beyond_the_dictionary_is_damage(tmp_path: Path) -> None:
    chunk, codec = chunk_of([[5, 6, 7]], tmp_path / "x.parquet", compression="none")
    _, page = pages_of(chunk)
    stored = bytearray(page.stored)
    stored[-2] = 0xFF  # the packed indices 0, 1, 2 become 3, 3, 3
    head = bytes(chunk[: -len(stored)])
    forged = head.replace(_crc(page.stored), _crc(stored)) + stored
    with pytest.raises(PageError, match="an index beyond its dictionary"):
        read(memoryview(forged), codec, 3)


def _crc(stored: bytes | bytearray | memoryview) -> bytes:
    """A checksum as a page header has it: zigzag, then seven bits a byte."""
    signed = int.from_bytes(zlib.crc32(stored).to_bytes(4, "big"), "big", signed=True)
    number, written = (signed << 1) ^ (signed >> 31), bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*written, number))


@settings(deadline=None)
@given(st.binary(max_size=60), st.integers(1, 16), st.integers(0, 500))
def test_any_bytes_are_codes_or_nothing(data: bytes, width: int, count: int) -> None:
    codes = np.arange(1 << width).astype(np.uint16)
    out = np.full(count, 7, np.uint16)
    if read_hybrid(memoryview(data), Dictionary(codes, width), out):
        assert out.max(initial=0) < 1 << width
