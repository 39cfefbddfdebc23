"""Codes read without Arrow are those that Arrow reads, and damage is damage to both."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.loader.bit_packing import read_hybrid, unpack
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
def test_values_of_any_width_are_unpacked(width: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 1 << width, 8 * (seed % 40)).astype(np.uint64)
    bits = (values[:, None] >> np.arange(width, dtype=np.uint64)) & np.uint64(1)
    packed = np.packbits(bits.astype(np.uint8).reshape(-1), bitorder="little")
    assert unpack(packed, width).tolist() == values.tolist()


@settings(deadline=None)
@given(st.binary(max_size=60), st.integers(0, 20), st.integers(0, 500))
def test_any_bytes_are_values_or_nothing(data: bytes, width: int, count: int) -> None:
    found = read_hybrid(data, width, count)
    assert found is None or len(found) == count
