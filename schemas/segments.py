"""Table `segments`: one row per candidate span, kept or not, with every measurement."""

import pyarrow as pa

from schemas.column import Column, Table

VERDICTS = ("kept", "dropped", "failed")

WORDS = pa.list_(
    pa.struct(
        [
            pa.field("word", pa.string()),
            pa.field("start_sample", pa.int64()),
            pa.field("end_sample", pa.int64()),
            pa.field("confidence", pa.float64()),
        ]
    )
)
SAFETY_SPANS = pa.list_(
    pa.struct(
        [
            pa.field("kind", pa.string()),
            pa.field("start_sample", pa.int64()),
            pa.field("end_sample", pa.int64()),
        ]
    )
)
_ENGINE = "engine, version and model of this stage"

SEGMENTS = Table(
    name="segments",
    doc="One row per candidate span of a recording, with every measurement and its verdict.",
    version=1,
    key=("segment_id",),
    columns=(
        Column("segment_id", pa.string(), "digest of recording_id, start and end sample", False),
        Column("recording_id", pa.string(), "the recording it was cut from", False),
        Column("source_id", pa.string(), "the input it was cut from", False),
        Column(
            "segment_index", pa.int32(), "position among the recording's segments, from 0", False
        ),
        Column("start_sample", pa.int64(), "first sample on the normalized timeline", False),
        Column("end_sample", pa.int64(), "one past the last sample", False),
        Column("sample_rate_hz", pa.int32(), "rate of the normalized timeline in Hz", False),
        Column("duration_s", pa.float64(), "(end_sample - start_sample) / sample_rate_hz", False),
        Column("speaker", pa.string(), "speaker label within the recording", False),
        Column("overlap_s", pa.float64(), "seconds in which somebody else talks as well", False),
        Column(
            "verdict", pa.string(), "kept, dropped (see reason) or failed (see failures)", False
        ),
        Column("reason", pa.string(), "why it was dropped"),
        Column("reason_measured", pa.float64(), "the figure that decided it"),
        Column("reason_limit", pa.float64(), "the limit that figure was held against"),
        # ASR and language
        Column("text", pa.string(), "transcript as the engine wrote it; empty if it heard nothing"),
        Column("words", WORDS, "words with positions on the recording's timeline, in samples"),
        Column("num_words", pa.int32(), "words in text"),
        Column("asr_confidence", pa.float64(), "0-1, on the engine's own scale"),
        Column("asr_language", pa.string(), "language that the engine transcribed in, ISO 639-1"),
        Column("language", pa.string(), "language detected, ISO 639-1; null if nobody measured it"),
        Column("language_probability", pa.float64(), "0-1; null if nobody measured it"),
        Column("asr_avg_logprob", pa.float64(), "mean log-probability per token"),
        Column("asr_no_speech_prob", pa.float64(), "0-1, Whisper's no-speech probability"),
        Column("asr_compression_ratio", pa.float64(), "bytes of text over its zlib bytes"),
        Column("asr_flags", pa.list_(pa.string()), "signs of hallucination in the transcript"),
        # Signal quality
        Column("snr_db", pa.float64(), "estimated signal-to-noise ratio in dB"),
        Column("bandwidth_hz", pa.float64(), "highest frequency with speech energy, in Hz"),
        Column("clipping_ratio", pa.float64(), "share of samples at the rails, 0-1"),
        Column("rt60_s", pa.float64(), "estimated reverberation time in seconds"),
        Column("segment_lufs", pa.float64(), "loudness of the segment after normalization"),
        Column("speech_ratio", pa.float64(), "share of the segment that VAD calls speech, 0-1"),
        Column("dnsmos_sig", pa.float64(), "DNSMOS P.835 speech quality, 1-5"),
        Column("dnsmos_bak", pa.float64(), "DNSMOS P.835 background quality, 1-5"),
        Column("dnsmos_ovrl", pa.float64(), "DNSMOS P.835 overall quality, 1-5"),
        Column("dnsmos_p808", pa.float64(), "DNSMOS P.808 overall quality, 1-5"),
        Column("squim_stoi", pa.float64(), "estimated STOI, 0-1"),
        Column("squim_pesq", pa.float64(), "estimated PESQ-WB, 1-4.64"),
        Column("squim_si_sdr_db", pa.float64(), "estimated SI-SDR in dB"),
        # What is said
        Column("conversational_quality", pa.float64(), "how much it is a real exchange, 0-5"),
        Column("knowledge_density", pa.float64(), "how much it tells, 0-5"),
        Column("logical_reasoning", pa.float64(), "how much it argues, 0-5"),
        # How it sounds
        Column("pitch_hz", pa.float64(), "median fundamental frequency of voiced parts, in Hz"),
        Column("pitch_range_st", pa.float64(), "10th to 90th percentile of pitch, in semitones"),
        Column("words_per_s", pa.float64(), "words over seconds; null without a transcript"),
        Column("syllables_per_s", pa.float64(), "energy nuclei per second of speech"),
        Column("spectral_tilt_db", pa.float64(), "energy above 1 kHz over below, in dB"),
        Column("caption_voice_en", pa.string(), "who speaks and how the voice sounds, English"),
        Column("caption_voice_zh", pa.string(), "who speaks and how the voice sounds, Chinese"),
        Column("caption_style_en", pa.string(), "manner and mood of speaking, English"),
        Column("caption_style_zh", pa.string(), "manner and mood of speaking, Chinese"),
        Column("caption_scene_en", pa.string(), "background and recording conditions, English"),
        Column("caption_scene_zh", pa.string(), "background and recording conditions, Chinese"),
        # Safety
        Column("safety_flags", pa.list_(pa.string()), "kinds of unsafe content found, sorted"),
        Column("pii_kinds", pa.list_(pa.string()), "kinds of personal data found, sorted"),
        Column("safety_spans", SAFETY_SPANS, "where, in samples on the recording's timeline"),
        # Provenance
        Column("quality_engine", pa.string(), _ENGINE),
        Column("mos_engine", pa.string(), _ENGINE),
        Column("asr_engine", pa.string(), _ENGINE),
        Column("text_quality_engine", pa.string(), _ENGINE),
        Column("caption_engine", pa.string(), _ENGINE),
        Column("safety_engine", pa.string(), _ENGINE),
    ),
)
