"""Table `recordings`: one row per input, whatever became of it."""

import pyarrow as pa

from schemas.column import Column, Table

OUTCOMES = ("done", "rejected", "failed")

RECORDINGS = Table(
    name="recordings",
    doc="One row per input: where it came from, what it is, what was measured, what became of it.",
    version=1,
    key=("source_id",),
    columns=(
        Column(
            "source_id", pa.string(), "digest of URI, size and etag; known before reading", False
        ),
        Column("uri", pa.string(), "where the input lies, as listed", False),
        Column("size_bytes", pa.int64(), "size of the input in bytes", False),
        Column(
            "etag", pa.string(), "version of the input: mtime in ns, or the store's etag", False
        ),
        Column("recording_id", pa.string(), "digest of the bytes; null if they were not read"),
        Column(
            "outcome", pa.string(), "done, rejected (see reason) or failed (see failures)", False
        ),
        Column("reason", pa.string(), "why it was rejected"),
        Column("reason_measured", pa.float64(), "the figure that decided the rejection"),
        Column("reason_limit", pa.float64(), "the limit that figure was held against"),
        Column("duplicate_of", pa.string(), "source_id of the input that this one repeats"),
        Column(
            "duplicate_similarity", pa.float64(), "1 for equal bytes; else estimated Jaccard, 0-1"
        ),
        Column("container", pa.string(), "container format found in the bytes"),
        Column("codec", pa.string(), "audio codec found in the bytes"),
        Column("source_sample_rate_hz", pa.int32(), "sample rate of the source in Hz"),
        Column("source_channels", pa.int32(), "channels of the source"),
        Column("claimed_s", pa.float64(), "seconds that the header promises; null if it is silent"),
        Column("decoded_s", pa.float64(), "seconds that came out of the decoder"),
        Column("decode_flags", pa.list_(pa.string()), "damage met and survived, e.g. TRUNCATED"),
        Column("downmix", pa.string(), "how channels became one: mono, mean, or channel:N"),
        Column("sample_rate_hz", pa.int32(), "rate of the normalized timeline in Hz"),
        Column("num_samples", pa.int64(), "length of the normalized timeline in samples"),
        Column("duration_s", pa.float64(), "num_samples / sample_rate_hz, in seconds"),
        Column("loudness_lufs", pa.float64(), "BS.1770 integrated loudness before the gain"),
        Column("true_peak_dbtp", pa.float64(), "BS.1770 true peak before the gain"),
        Column("gain_db", pa.float64(), "gain that normalization applied"),
        Column("speech_s", pa.float64(), "seconds of speech found by VAD"),
        Column("num_speakers", pa.int32(), "speakers found by diarization"),
        Column("overlap_s", pa.float64(), "seconds in which two or more speakers talk"),
        Column("num_segments", pa.int32(), "candidate segments cut from this recording"),
        Column("num_segments_kept", pa.int32(), "segments whose verdict is kept"),
        Column("kept_s", pa.float64(), "seconds in kept segments"),
        Column("decode_engine", pa.string(), "engine, version and model of this stage"),
        Column("normalize_engine", pa.string(), "engine, version and model of this stage"),
        Column("vad_engine", pa.string(), "engine, version and model of this stage"),
        Column("diarize_engine", pa.string(), "engine, version and model of this stage"),
        Column("segment_engine", pa.string(), "engine, version and model of this stage"),
    ),
)
