"""Rows of a small manifest, given only what a test cares about, and a database of them."""

from datetime import UTC, datetime
from typing import Any

import duckdb

from schemas.ids import segment_id
from schemas.manifest import TABLES

RATE_HZ = 24_000
Row = dict[str, Any]


def recording(uri: str, *, outcome: str = "done", **values: Any) -> Row:
    """A row of `recordings`; a done one has a minute of audio and was diarized."""
    done = {"decoded_s": 60.0, "duration_s": 60.0, "speech_s": 40.0, "diarize_engine": "d 1"}
    return {
        "source_id": f"source of {uri}",
        "recording_id": f"recording of {uri}",
        "uri": uri,
        "size_bytes": 1000,
        "etag": "1",
        "outcome": outcome,
        "sample_rate_hz": RATE_HZ,
        **(done if outcome == "done" else {}),
        **values,
    }


def segment(uri: str, start_s: float, end_s: float, text: str | None = None, **values: Any) -> Row:
    """A row of `segments`, kept unless told otherwise; a text was heard as English."""
    heard = {"text": text, "asr_language": "en", "asr_engine": "a 1"} if text is not None else {}
    start_sample, end_sample = round(start_s * RATE_HZ), round(end_s * RATE_HZ)
    return {
        "segment_id": segment_id(uri, start_sample, end_sample),
        "recording_id": f"recording of {uri}",
        "source_id": f"source of {uri}",
        "segment_index": start_sample,
        "start_sample": start_sample,
        "end_sample": end_sample,
        "sample_rate_hz": RATE_HZ,
        "duration_s": end_s - start_s,
        "speaker": "S0",
        "overlap_s": 0.0,
        "verdict": "kept",
        **heard,
        **values,
    }


def turn(uri: str, index: int, start_s: float, end_s: float, speaker: str) -> Row:
    return {
        "recording_id": f"recording of {uri}",
        "source_id": f"source of {uri}",
        "turn_index": index,
        "start_sample": round(start_s * RATE_HZ),
        "end_sample": round(end_s * RATE_HZ),
        "sample_rate_hz": RATE_HZ,
        "speaker": speaker,
    }


def failure(uri: str, stage: str, error_class: str, message: str, **values: Any) -> Row:
    return {
        "source_id": f"source of {uri}",
        "uri": uri,
        "segment_id": None,
        "stage": stage,
        "error_class": error_class,
        "message": message,
        **values,
    }


def run(run_id: str, stages: list[Row], **values: Any) -> Row:
    return {
        "run_id": run_id,
        "started_at": datetime(2026, 1, 1, tzinfo=UTC),
        "ended_at": datetime(2026, 1, 1, 0, 1, tzinfo=UTC),
        "ending": "finished",
        "job_fingerprint": "0",
        "spec": "{}",
        "versions": [("torch", "2.11")],
        "workers": 2,
        "cpus": 2.0,
        "gpus": 0.0,
        "wall_s": 60.0,
        "inputs": 1,
        "hours": 0.1,
        "stages": stages,
        "cost": 0.25,
        "currency": "USD",
        **values,
    }


def connection_with(**tables: list[Row]) -> duckdb.DuckDBPyConnection:
    """A database in memory with every table of the manifest; those not given are empty."""
    connection = duckdb.connect()
    for name, table in TABLES.items():
        connection.register(name, table.to_arrow(tables.get(name, [])))
    return connection
