"""Which kept segment goes into which row of which shard, and the writing of a shard.

The plan is a function of the kept segments alone: sorted by recording and start, cut into files of
`rows_per_shard`. The name of a shard is a digest of its rows, so a rerun plans the same ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.delta_store import SHARDS_FOLDER
from pipeline.files import write_parquet
from pipeline.store import DataFile
from pipeline.working_copy import publish
from schemas.codes import Codes
from schemas.ids import digest
from schemas.source import Source
from schemas.tokens import shard_schema

CHUNK_ROWS = 32
"""Segments cut and encoded in one task, more only to finish a recording (it is decoded once)."""
MAX_CHUNK_ROWS = 256
"""About 250 MB of audio at the usual lengths; a longer recording is decoded again per chunk."""


@dataclass(frozen=True, slots=True)
class ShardRow:
    """A kept segment, with all that a shard says about it."""

    source: Source
    segment_id: str
    recording_id: str
    speaker: str
    start_sample: int
    end_sample: int
    sample_rate_hz: int
    language: str | None
    text: str | None
    caption_en: str | None
    caption_zh: str | None


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """One shard: its name and its rows in order."""

    name: str
    rows: tuple[ShardRow, ...]

    def chunks(self) -> list[tuple[ShardRow, ...]]:
        """Its rows in pieces that are cut and encoded on their own, in order."""
        chunks: list[list[ShardRow]] = []
        for row in self.rows:
            last = chunks[-1] if chunks else None
            full = last is not None and (
                len(last) >= MAX_CHUNK_ROWS
                or (len(last) >= CHUNK_ROWS and last[-1].recording_id != row.recording_id)
            )
            if last is None or full:
                chunks.append([row])
            else:
                last.append(row)
        return [tuple(chunk) for chunk in chunks]


def plan_shards(
    segments: pa.Table, sources: dict[str, Source], *, rows_per_shard: int, tokenizer: str
) -> list[ShardPlan]:
    """Shards for the kept rows of table `segments`; `tokenizer` is its fingerprint."""
    rows = [
        _shard_row(row, sources[row["source_id"]])
        for row in segments.to_pylist()
        if row["verdict"] == "kept"
    ]
    rows.sort(key=lambda row: (row.recording_id, row.start_sample, row.segment_id))
    plans = []
    for index, start in enumerate(range(0, len(rows), rows_per_shard)):
        part = tuple(rows[start : start + rows_per_shard])
        name = digest(tokenizer, *(row.segment_id for row in part))[:16]
        plans.append(ShardPlan(f"shard-{index:06d}-{name}", part))
    return plans


def write_shard(
    plan: ShardPlan,
    codes: Sequence[Codes],
    out: Path,
    *,
    epoch: int,
    fingerprint: str,
    num_codebooks: int,
    rows_per_group: int,
) -> DataFile:
    """Writes one shard under `out`; row i holds `codes[i]`, shape `[num_frames, num_codebooks]`."""
    if len(codes) != len(plan.rows):
        raise RuntimeError(f"{plan.name}: {len(codes)} codes for {len(plan.rows)} rows")
    schema = shard_schema(num_codebooks, fingerprint)
    columns: dict[str, Any] = {
        name: [getattr(row, name) for row in plan.rows]
        for name in schema.names
        if name != "num_frames" and not _is_codes(name)
    }
    columns["num_frames"] = [len(one) for one in codes]
    arrays = [
        _codes_array(codes, int(name[1:]))
        if _is_codes(name)
        else pa.array(columns[name], field.type)
        for name, field in zip(schema.names, schema, strict=True)
    ]
    table = pa.Table.from_arrays(arrays, schema=schema)
    layers = [f"q{layer}.list.element" for layer in range(num_codebooks)]
    file = write_parquet(
        table,
        out,
        SHARDS_FOLDER,
        plan.name,
        epoch,
        rows_per_group=rows_per_group,
        # Codes repeat, so a dictionary packs them to their entropy; ids and text do not.
        dictionary=[*layers, "speaker", "language", "recording_id"],
    )
    publish(out, file.name, keep=False)
    return file


def _is_codes(name: str) -> bool:
    return name[0] == "q" and name[1:].isdigit()


def _codes_array(codes: Sequence[Codes], layer: int) -> pa.Array:
    offsets = [0]
    for one in codes:
        offsets.append(offsets[-1] + len(one))
    values = [one[:, layer] for one in codes]
    flat = pa.concat_arrays([pa.array(v.copy(), pa.uint16()) for v in values])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat)


def _shard_row(row: dict[str, Any], source: Source) -> ShardRow:
    return ShardRow(
        source=source,
        segment_id=row["segment_id"],
        recording_id=row["recording_id"],
        speaker=row["speaker"],
        start_sample=row["start_sample"],
        end_sample=row["end_sample"],
        sample_rate_hz=row["sample_rate_hz"],
        language=row["language"] or row["asr_language"],
        text=row["text"],
        caption_en=_captions(row, "en"),
        caption_zh=_captions(row, "zh"),
    )


def _captions(row: dict[str, Any], language: str) -> str | None:
    views = [row[f"caption_{view}_{language}"] for view in ("voice", "style", "scene")]
    return " ".join(view for view in views if view) or None
