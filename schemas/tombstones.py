"""Table `tombstones`: what was forgotten on request, and nothing of what it held."""

import pyarrow as pa

from schemas.column import Column, Table

TOMBSTONES = Table(
    name="tombstones",
    doc="One row per input that was forgotten: no other table and no shard has a row of it.",
    version=1,
    key=("source_id",),
    # Names and types of other tables: those of an output are fixed when its first entry is made.
    columns=(
        Column("source_id", pa.string(), "the input, as the job lists it", False),
        Column("outcome", pa.string(), "what had become of it: done, rejected or failed", False),
        Column("num_segments", pa.int32(), "candidate segments of it that were removed"),
        Column("ended_at", pa.timestamp("us", "UTC"), "when it was forgotten", False),
    ),
)
