"""Finished items to table rows: every input gives one row of `recordings`, whatever it became."""

from collections.abc import Iterable
from typing import Any

from pipeline.item_state import Failure, ItemState, SegmentState
from schemas.recordings import RECORDINGS
from schemas.segments import SEGMENTS
from schemas.spans import Turn

Row = dict[str, Any]
Rows = dict[str, list[Row]]


def rows_of(items: Iterable[ItemState]) -> Rows:
    """Rows per table of items that came to their end."""
    rows: Rows = {"recordings": [], "segments": [], "turns": [], "failures": []}
    for item in items:
        rows["recordings"].append(_recording_row(item))
        if item.failure:
            rows["failures"].append(_failure_row(item, None, item.failure))
            continue
        rate_hz = int(item.values.get("sample_rate_hz", 0))
        turns: list[Turn] = item.values.get("turns") or []
        for index, turn in enumerate(turns):
            rows["turns"].append(
                {
                    **_ids(item),
                    "turn_index": index,
                    "start_sample": turn.start_sample,
                    "end_sample": turn.end_sample,
                    "sample_rate_hz": rate_hz,
                    "speaker": turn.speaker,
                }
            )
        for index, segment in enumerate(item.segments):
            rows["segments"].append(_segment_row(item, index, segment, rate_hz))
            if segment.failure:
                rows["failures"].append(_failure_row(item, segment, segment.failure))
    return rows


def sketch_rows(items: Iterable[ItemState]) -> list[Row]:
    """Rows of `sketches` for items that are still alive after the first sweep."""
    return [
        {
            **_ids(item),
            "uri": item.source.uri,
            "size_bytes": item.source.size_bytes,
            "decoded_s": item.values["decoded_s"],
            "sketch": [int(value) for value in item.values["sketch"]],
            "fingerprint_engine": item.values.get("fingerprint_engine"),
        }
        for item in items
        if item.alive
    ]


def _ids(item: ItemState) -> Row:
    return {"recording_id": item.recording_id, "source_id": item.source.source_id}


def _recording_row(item: ItemState) -> Row:
    rate_hz = item.values.get("sample_rate_hz")
    kept = [s for s in item.segments if s.alive]
    row: Row = {
        **{name: v for name, v in item.values.items() if name in RECORDINGS.column_names},
        **_ids(item),
        "uri": item.source.uri,
        "size_bytes": item.source.size_bytes,
        "etag": item.source.etag,
        "outcome": "failed" if item.failure else "rejected" if item.drop else "done",
        "num_segments": len(item.segments),
        "num_segments_kept": len(kept),
        "kept_s": sum(s.span.end_sample - s.span.start_sample for s in kept) / (rate_hz or 1),
    }
    if item.drop:
        row |= _drop_columns(item.drop)
        row["duplicate_of"] = item.values.get("duplicate_of")
    return row


def _segment_row(item: ItemState, index: int, state: SegmentState, rate_hz: int) -> Row:
    span = state.span
    row: Row = {
        **{name: v for name, v in state.values.items() if name in SEGMENTS.column_names},
        **_ids(item),
        "segment_id": state.segment_id,
        "segment_index": index,
        "start_sample": span.start_sample,
        "end_sample": span.end_sample,
        "sample_rate_hz": rate_hz,
        "duration_s": (span.end_sample - span.start_sample) / rate_hz,
        "speaker": span.speaker,
        "overlap_s": span.overlap_s,
        "verdict": "failed" if state.failure else "dropped" if state.drop else "kept",
    }
    return row | _drop_columns(state.drop) if state.drop else row


def _drop_columns(drop: Any) -> Row:
    return {
        "reason": drop.reason,
        "reason_measured": drop.measured,
        "reason_limit": drop.limit,
    }


def _failure_row(item: ItemState, segment: SegmentState | None, failure: Failure) -> Row:
    return {
        **_ids(item),
        "uri": item.source.uri,
        "segment_id": segment.segment_id if segment else None,
        "stage": failure.stage,
        "error_class": failure.error_class,
        "message": failure.message,
        "traceback": failure.traceback,
    }
