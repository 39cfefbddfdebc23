"""Table `tokens` (segment to shard row), and the schema of a token shard."""

import pyarrow as pa

from schemas.column import TABLE_KEY, VERSION_KEY, Column, Table

TOKENS = Table(
    name="tokens",
    doc="One row per tokenized segment: which row of which shard holds its codes.",
    version=2,
    key=("segment_id",),
    columns=(
        Column("segment_id", pa.string(), "the segment", False),
        Column("recording_id", pa.string(), "the recording it was cut from", False),
        Column("shard", pa.string(), "the shard; table `shards` names its file", False),
        Column("shard_row", pa.int64(), "row in that file, from 0", False),
        Column("num_frames", pa.int64(), "codec frames of 1/25 s", False),
        Column(
            "tokenizer_fingerprint", pa.string(), "digest of the tokenizer's fingerprint", False
        ),
    ),
)

FINGERPRINT_KEY = b"audiomill.tokenizer"
NUM_CODEBOOKS_KEY = b"audiomill.num_codebooks"
NO_TOKENIZER = '{"tokenizer":null}'
"""Fingerprint of shards with text and no codes: they go with any tokenizer."""
SHARD_VERSION = 1


def shard_columns(num_codebooks: int) -> tuple[Column, ...]:
    """Columns of a shard: ids, text and labels, then one list of codes per RVQ layer."""
    return (
        Column("segment_id", pa.string(), "the segment", False),
        Column("recording_id", pa.string(), "the recording it was cut from", False),
        Column("speaker", pa.string(), "speaker label within the recording", False),
        Column("start_sample", pa.int64(), "first sample on the recording's timeline", False),
        Column("end_sample", pa.int64(), "one past the last sample", False),
        Column("sample_rate_hz", pa.int32(), "rate of that timeline in Hz", False),
        Column("language", pa.string(), "language detected, else the one transcribed in"),
        Column("text", pa.string(), "transcript"),
        Column("caption_en", pa.string(), "English captions of voice, style and scene"),
        Column("caption_zh", pa.string(), "Chinese captions of voice, style and scene"),
        Column("num_frames", pa.int32(), "length of every q column", False),
        *(
            Column(f"q{layer}", pa.list_(pa.uint16()), f"codes of RVQ layer {layer}", False)
            for layer in range(num_codebooks)
        ),
    )


def shard_schema(num_codebooks: int, fingerprint: str) -> pa.Schema:
    """Arrow schema of a shard whose codes were made by the tokenizer of that fingerprint."""
    return pa.schema(
        [column.field() for column in shard_columns(num_codebooks)],
        metadata={
            TABLE_KEY: b"shard",
            VERSION_KEY: str(SHARD_VERSION).encode(),
            FINGERPRINT_KEY: fingerprint.encode(),
            NUM_CODEBOOKS_KEY: str(num_codebooks).encode(),
        },
    )
