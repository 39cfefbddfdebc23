"""Table `shards`: one row per shard file, so that a reader knows which files are whole."""

import pyarrow as pa

from schemas.column import Column, Table

SHARDS = Table(
    name="shards",
    doc="One row per committed token shard: size, digest and the tokenizer that made it.",
    version=2,
    key=("shard",),
    columns=(
        Column("shard", pa.string(), "name of the shard, a digest of its rows", False),
        Column("file", pa.string(), "its file under OUT/shards", False),
        Column("num_rows", pa.int64(), "segments in the file", False),
        Column("num_frames", pa.int64(), "codec frames of 1/25 s in the file", False),
        Column("size_bytes", pa.int64(), "size of the file in bytes", False),
        Column("sha256", pa.string(), "SHA-256 of the file", False),
        Column("num_codebooks", pa.int32(), "RVQ layers in the file", False),
        Column("tokenizer", pa.string(), "fingerprint of the tokenizer, canonical JSON", False),
    ),
)
