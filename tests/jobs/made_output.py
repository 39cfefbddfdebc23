"""An output folder with committed shards, without the run that would make it."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.manifest import Manifest, write_rows
from pipeline.shards import ShardPlan, ShardRow, write_shard
from schemas.source import Source

SIZES = (1024, 1024, 128, 128, 128, 128, 128, 128)
FINGERPRINT = '{"tokenizer":"made"}'
RATE_HZ = 24_000


def make_output(
    out: Path,
    *,
    num_shards: int = 2,
    rows_per_shard: int = 24,
    seed: int = 0,
    with_text: bool = True,
) -> Path:
    """Two speakers who take turns; codes that follow the letters of the text, kept or not."""
    random = np.random.default_rng(seed)
    manifest = Manifest.create(out)
    for shard in range(num_shards):
        rows = tuple(_row(shard, number, random) for number in range(rows_per_shard))
        codes = [_codes(row) for row in rows]
        if not with_text:
            rows = tuple(replace(row, text=None) for row in rows)
        file = write_shard(
            ShardPlan(f"shard-{shard:06d}", rows),
            codes,
            out,
            epoch=0,
            fingerprint=FINGERPRINT,
            num_codebooks=8,
            rows_per_group=8,
        )
        row = {
            "shard": f"shard-{shard:06d}",
            "file": file.name.rpartition("/")[2],
            "num_rows": file.num_rows,
            "num_frames": sum(len(one) for one in codes),
            "size_bytes": file.size_bytes,
            "sha256": file.sha256,
            "num_codebooks": 8,
            "tokenizer": FINGERPRINT,
        }
        unit = f"made{shard}"
        manifest.commit(unit, [*write_rows(out, unit, 0, {"shards": [row]}), file], 0)
    return out


def _row(shard: int, number: int, random: np.random.Generator) -> ShardRow:
    letters = random.integers(97, 101, int(random.integers(4, 14)))
    return ShardRow(
        source=Source(f"{shard}.wav", 1, "1"),
        segment_id=f"{shard}-{number}",
        recording_id=f"r{shard}",
        speaker=f"S{number % 2}",
        start_sample=number * 2 * RATE_HZ,
        end_sample=(number * 2 + 1) * RATE_HZ,
        sample_rate_hz=RATE_HZ,
        language="en",
        text=bytes(letters.tolist()).decode(),
        caption_en="A calm voice in a quiet room.",
        caption_zh=None,
    )


def _codes(row: ShardRow) -> np.ndarray:
    letters = np.frombuffer((row.text or "").encode(), np.uint8).astype(np.uint16) - 97
    frames = np.repeat(letters, 4)
    return np.stack([frames % size for size in SIZES], axis=1).astype(np.uint16)
