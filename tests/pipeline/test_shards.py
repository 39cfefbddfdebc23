"""Shards: a plan from the kept rows alone, and codes that come back as they went in."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.shards import MAX_CHUNK_ROWS, ShardPlan, ShardRow, plan_shards, write_shard
from schemas.segments import SEGMENTS
from schemas.source import Source
from schemas.tokens import FINGERPRINT_KEY

SIZES = (1024, 1024, 128, 128, 128, 128, 128, 128)


def make_row(recording: int, index: int) -> ShardRow:
    return ShardRow(
        source=Source(f"{recording}.wav", 1, "1"),
        segment_id=f"{recording}-{index}",
        recording_id=f"r{recording}",
        speaker="A",
        start_sample=index * 1000,
        end_sample=index * 1000 + 900,
        sample_rate_hz=24_000,
        language=None,
        text="words",
        caption_en=None,
        caption_zh=None,
    )


def random_codes(num_frames: int, rng: np.random.Generator) -> np.ndarray:
    return np.stack([rng.integers(0, size, num_frames) for size in SIZES], axis=1).astype(np.uint16)


def test_codes_come_back_from_a_shard_as_they_went_in(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = tuple(make_row(0, index) for index in range(5))
    codes = [random_codes(n, rng) for n in (1, 40, 3, 250, 7)]
    file = write_shard(
        ShardPlan("shard-0", rows),
        codes,
        tmp_path,
        epoch=0,
        fingerprint='{"weights":"x"}',
        num_codebooks=8,
        rows_per_group=2,
    )
    with pq.ParquetFile(tmp_path / file.name, page_checksum_verification=True) as shard:
        table = shard.read()
        assert shard.metadata.num_row_groups == 3
        assert shard.schema_arrow.metadata[FINGERPRINT_KEY] == b'{"weights":"x"}'
    for index, expected in enumerate(codes):
        found = np.stack([table[f"q{layer}"][index].as_py() for layer in range(8)], axis=1)
        np.testing.assert_array_equal(found, expected)
        assert table["num_frames"][index].as_py() == len(expected)


def test_random_codes_take_close_to_their_entropy_on_disk(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = tuple(make_row(0, index) for index in range(400))
    codes = [random_codes(200, rng) for _ in rows]
    file = write_shard(
        ShardPlan("s", rows),
        codes,
        tmp_path,
        epoch=0,
        fingerprint="x",
        num_codebooks=8,
        rows_per_group=400,
    )
    assert file.size_bytes / (400 * 200) < 8.3  # 7.75 bytes are the bound


def test_a_flipped_bit_in_a_shard_is_seen(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    rows = tuple(make_row(0, index) for index in range(20))
    file = write_shard(
        ShardPlan("s", rows),
        [random_codes(100, rng) for _ in rows],
        tmp_path,
        epoch=0,
        fingerprint="x",
        num_codebooks=8,
        rows_per_group=20,
    )
    path = tmp_path / file.name
    clean = path.read_bytes()
    for offset in range(200, len(clean) // 2, len(clean) // 20):
        damaged = bytearray(clean)
        damaged[offset] ^= 0x04
        path.write_bytes(bytes(damaged))
        with (
            pytest.raises(OSError),  # noqa: PT011  (pyarrow words it by codec)
            pq.ParquetFile(path, page_checksum_verification=True) as shard,
        ):
            shard.read()


def test_the_plan_follows_the_kept_rows_and_nothing_else() -> None:
    template = dict.fromkeys(SEGMENTS.column_names)
    rows = [
        template
        | {
            "segment_id": f"{recording}-{index}",
            "recording_id": f"r{recording}",
            "source_id": f"s{recording}",
            "segment_index": index,
            "start_sample": index * 10,
            "end_sample": index * 10 + 9,
            "sample_rate_hz": 24_000,
            "duration_s": 1.0,
            "speaker": "A",
            "overlap_s": 0.0,
            "verdict": "kept" if index % 3 else "dropped",
        }
        for recording in range(4)
        for index in range(6)
    ]
    sources = {f"s{n}": Source(f"{n}.wav", 1, "1") for n in range(4)}
    plans = [
        plan_shards(SEGMENTS.to_arrow(order), sources, rows_per_shard=5, tokenizer="t")
        for order in (rows, rows[::-1])
    ]
    assert plans[0] == plans[1]
    assert [len(plan.rows) for plan in plans[0]] == [5, 5, 5, 1]
    other = plan_shards(SEGMENTS.to_arrow(rows), sources, rows_per_shard=5, tokenizer="u")
    assert {p.name for p in other}.isdisjoint(p.name for p in plans[0])


def test_chunks_end_where_recordings_do_unless_one_is_very_long() -> None:
    rows = [make_row(0, i) for i in range(40)] + [make_row(1, i) for i in range(300)]
    chunks = ShardPlan("s", tuple(rows)).chunks()
    assert [row for chunk in chunks for row in chunk] == rows
    assert [len(chunk) for chunk in chunks] == [40, MAX_CHUNK_ROWS, 300 - MAX_CHUNK_ROWS]
