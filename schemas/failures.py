"""Table `failures`: one row per input or segment that could not be processed, with its cause."""

import pyarrow as pa

from schemas.column import Column, Table

UNCODED = "tokenize"
"""Stage of the failures of segments that were kept and have no codes: they stay `kept`."""
ERROR_CLASSES = {
    "EMPTY_FILE": "the file holds no bytes",
    "NOT_AUDIO": "the bytes are no audio format that is accepted",
    "NO_AUDIO_STREAM": "a media file without an audio stream",
    "UNSUPPORTED_CODEC": "the codec cannot be decoded here",
    "HEADER_INVALID": "the header promises what cannot be",
    "DECODE_ERROR": "the decoder gave up",
    "DECODED_EMPTY": "the decoder gave no samples",
    "TRUNCATED": "less audio than the header promises",
    "DURATION_MISMATCH": "another length than the header promises",
    "FORMAT_CHANGE": "rate or channels change in the middle",
    "NONFINITE": "NaN or infinite samples",
    "TOO_LONG": "longer than the spec's limit",
    "TOO_SHORT": "too short for anything to be measured",
    "TOO_MANY_CHANNELS": "more channels than the spec's limit",
    "UNREADABLE": "the file cannot be opened, or is no regular file",
    "CHANGED": "the file is not the one that was listed",
    "FORBIDDEN_URI": "the URI's scheme or root is not allowed",
    "ENGINE_ERROR": "an engine failed on this item",
    "ENDPOINT_ERROR": "a remote endpoint failed or answered out of schema",
    "CRASH": "the worker or the decoder died on this item",
    "OOM_ITEM": "the item took more memory than its limit",
    "TIMEOUT": "the item took longer than its limit",
    "UNEXPECTED": "an exception that nobody foresaw; see traceback",
}

FAILURES = Table(
    name="failures",
    doc="One row per input (segment_id null) or segment that failed: stage, class, sentence.",
    version=1,
    key=("source_id", "segment_id"),
    columns=(
        Column("source_id", pa.string(), "the input", False),
        Column("uri", pa.string(), "where the input lies", False),
        Column("recording_id", pa.string(), "digest of the bytes, if they were read"),
        Column("segment_id", pa.string(), "the segment; null when the whole input failed"),
        Column(
            "stage",
            pa.string(),
            "stage that failed, as the spec names it; `tokenize`: a kept segment has no codes",
            False,
        ),
        Column(
            "error_class", pa.string(), "stable word to group by; see schemas/failures.py", False
        ),
        Column("message", pa.string(), "a sentence that a person can act on", False),
        Column("traceback", pa.string(), "for unexpected exceptions only"),
    ),
)
