"""An output with committed shards of seeded codes, written as a job writes them, without a job."""

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from pipeline.manifest import Manifest, write_rows
from pipeline.shards import ShardPlan, ShardRow, write_shard
from schemas.codes import Codes
from schemas.ids import digest
from schemas.source import Source

CODEBOOK_SIZES = (1024, 1024, 128, 128, 128, 128, 128, 128)
FINGERPRINT = '{"tokenizer":"made up"}'
SAMPLES_PER_FRAME = 960
_ROWS_PER_RECORDING = 50
_WORDS = ("the", "quick", "brown", "foxes", "jump", "over", "lazy", "dogs", "again", "and")

Row = tuple[ShardRow, Codes]


def made_rows(frames: Iterable[int], seed: int = 0) -> Iterable[Row]:
    """A row of so many frames each: uniform codes, a text of 2.5 words a second, captions."""
    random = np.random.default_rng(seed)
    for number, num_frames in enumerate(frames):
        recording = digest("recording", seed, number // _ROWS_PER_RECORDING)
        words = random.choice(_WORDS, size=num_frames // 10 + 1)
        row = ShardRow(
            source=Source("made-up.wav", 1, "1"),
            segment_id=digest("segment", seed, number),
            recording_id=recording,
            speaker=f"S{number % 2}",
            start_sample=number % _ROWS_PER_RECORDING * 1000 * SAMPLES_PER_FRAME,
            end_sample=(number % _ROWS_PER_RECORDING * 1000 + num_frames) * SAMPLES_PER_FRAME,
            sample_rate_hz=24_000,
            language="en",
            text=" ".join(words),
            caption_en="A calm voice in a quiet room.",
            caption_zh=None,
        )
        columns = [random.integers(0, size, num_frames) for size in CODEBOOK_SIZES]
        yield row, np.stack(columns, axis=1).astype(np.uint16)


def commit_shards(
    out: Path,
    rows: Iterable[Row],
    *,
    rows_per_shard: int = 4096,
    rows_per_group: int = 1024,
    fingerprint: str = FINGERPRINT,
) -> list[Path]:
    """Commits shards with these rows to the output at `out`, which may hold others already."""
    manifest = Manifest.create(out)
    waiting = iter(rows)
    paths = []
    while part := list(islice(waiting, rows_per_shard)):
        paths.append(_commit(manifest, out, part, rows_per_group, fingerprint))
    return paths


def _commit(
    manifest: Manifest, out: Path, rows: Sequence[Row], rows_per_group: int, fingerprint: str
) -> Path:
    name = f"shard-{digest(*(row.segment_id for row, _ in rows))[:16]}"
    plan = ShardPlan(name, tuple(row for row, _ in rows))
    codes = [codes for _, codes in rows]
    epoch = manifest.epoch()
    shard = write_shard(
        plan,
        codes,
        out,
        epoch=epoch,
        fingerprint=fingerprint,
        num_codebooks=len(CODEBOOK_SIZES),
        rows_per_group=rows_per_group,
    )
    row = {
        "shard": name,
        "file": shard.name.removeprefix("shards/"),
        "num_rows": shard.num_rows,
        "num_frames": sum(map(len, codes)),
        "size_bytes": shard.size_bytes,
        "sha256": shard.sha256,
        "num_codebooks": len(CODEBOOK_SIZES),
        "tokenizer": fingerprint,
    }
    unit = digest("shard", name)
    manifest.commit(unit, [shard, *write_rows(out, unit, epoch, {"shards": [row]})], epoch)
    return out / shard.name
