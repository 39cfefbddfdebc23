"""Table `turns`: who speaks when, as diarization heard it."""

import pyarrow as pa

from schemas.column import Column, Table

TURNS = Table(
    name="turns",
    doc="One row per speaker turn of a recording. Turns of different speakers may overlap.",
    version=1,
    key=("recording_id", "turn_index"),
    columns=(
        Column("recording_id", pa.string(), "the recording", False),
        Column("source_id", pa.string(), "the input", False),
        Column("turn_index", pa.int32(), "position among the recording's turns, from 0", False),
        Column("start_sample", pa.int64(), "first sample on the normalized timeline", False),
        Column("end_sample", pa.int64(), "one past the last sample", False),
        Column("sample_rate_hz", pa.int32(), "rate of the normalized timeline in Hz", False),
        Column("speaker", pa.string(), "speaker label within the recording", False),
    ),
)
