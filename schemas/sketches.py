"""Table `sketches`: what near-duplicates are found by, before anything dear is run."""

import pyarrow as pa

from schemas.column import Column, Table

SKETCHES = Table(
    name="sketches",
    doc="One row per input that decoded, with a MinHash of its audio. Written by the first pass.",
    version=1,
    key=("source_id",),
    columns=(
        Column("source_id", pa.string(), "the input", False),
        Column("uri", pa.string(), "where the input lies", False),
        Column("size_bytes", pa.int64(), "size of the input in bytes", False),
        Column("recording_id", pa.string(), "digest of the bytes", False),
        Column("decoded_s", pa.float64(), "seconds that came out of the decoder", False),
        Column(
            "sketch", pa.list_(pa.int64()), "MinHash values below 2^32; empty if too short", False
        ),
        Column("fingerprint_engine", pa.string(), "engine, version and model of this stage"),
    ),
)
