"""The loop over stages: three outcomes, and one bad item harms nobody else."""

from pathlib import Path

import pytest

from pipeline.assemble import NamedStage
from pipeline.item_state import ItemState
from pipeline.process import batch_by_padded_seconds, run_stages
from pipeline.rows import rows_of
from schemas.errors import StorageError
from schemas.manifest import TABLES
from schemas.source import Source
from schemas.verdict import Keep, Verdict
from stages.base import Recording
from tests.pipeline.toy_stages import ToyCut, ToyDecode, ToyScore


def make_item(folder: Path, word: str) -> ItemState:
    path = folder / f"{word}.txt"
    path.write_text(word)
    item = ItemState(Source(uri=path.name, size_bytes=len(word), etag="1"), recording_id=word)
    item.values["path"] = path
    return item


def make_stages() -> list[NamedStage]:
    return [
        NamedStage("decode", ToyDecode(ToyDecode.Spec())),
        NamedStage("segment", ToyCut(ToyCut.Spec())),
        NamedStage("quality", ToyScore(ToyScore.Spec())),
    ]


def test_every_input_ends_in_one_of_three_outcomes(tmp_path: Path) -> None:
    items = [make_item(tmp_path, word) for word in ("good", "bad", "silent", "bug")]
    run_stages(items, make_stages())
    rows = rows_of(items)
    outcome = {row["uri"]: row["outcome"] for row in rows["recordings"]}
    assert outcome == {
        "good.txt": "done",
        "bad.txt": "failed",
        "silent.txt": "rejected",
        "bug.txt": "failed",
    }


def test_a_failure_says_stage_class_and_sentence_and_keeps_the_trace_of_a_bug(
    tmp_path: Path,
) -> None:
    items = [make_item(tmp_path, word) for word in ("bad", "bug")]
    run_stages(items, make_stages())
    bad, bug = rows_of(items)["failures"]
    assert (bad["stage"], bad["error_class"]) == ("decode", "NOT_AUDIO")
    assert bad["message"] == "bad.txt is bad; throw it away"
    assert bad["traceback"] is None
    assert bug["error_class"] == "UNEXPECTED"
    assert "ZeroDivisionError" in bug["traceback"]


def test_a_batch_that_raises_is_split_until_the_culprit_is_alone(tmp_path: Path) -> None:
    item = make_item(tmp_path, "good")
    ToyScore.batches.clear()
    run_stages([item], make_stages())
    rows = rows_of([item])
    by_start = {row["start_sample"]: row for row in rows["segments"]}
    assert by_start[4000]["verdict"] == "failed"
    assert by_start[8000]["verdict"] == "dropped"
    assert by_start[8000]["reason_limit"] == 3.0
    kept = [start for start, row in by_start.items() if row["verdict"] == "kept"]
    assert kept == [0, 2000, 6000]
    assert [by_start[start]["snr_db"] for start in kept] == [0.0, 2.0, 6.0]
    assert max(ToyScore.batches) == 4
    assert [row["segment_id"] for row in rows["failures"]] == [by_start[4000]["segment_id"]]


def test_rows_fit_the_written_schemas(tmp_path: Path) -> None:
    items = [make_item(tmp_path, word) for word in ("good", "bad", "silent")]
    run_stages(items, make_stages())
    for name, rows in rows_of(items).items():
        assert TABLES[name].to_arrow(rows).num_rows == len(rows)


def test_undeclared_and_missing_values_are_bugs_that_are_named(tmp_path: Path) -> None:
    class Sloppy(ToyDecode):
        def process(self, recording: Recording) -> Verdict:
            return Keep({"snr_db": 3.0})

    item = make_item(tmp_path, "good")
    run_stages([item], [NamedStage("decode", Sloppy(ToyDecode.Spec()))])
    assert item.failure is not None
    assert "snr_db" in item.failure.message
    assert "decoded_s" in item.failure.message


def test_a_full_disk_stops_the_job_and_is_not_blamed_on_the_input(tmp_path: Path) -> None:
    class FullDisk(ToyDecode):
        def process(self, recording: Recording) -> Verdict:
            raise StorageError("no space left")

    item = make_item(tmp_path, "good")
    with pytest.raises(StorageError):
        run_stages([item], [NamedStage("decode", FullDisk(ToyDecode.Spec()))])
    assert item.failure is None


def test_batches_hold_items_times_longest_within_the_limit(tmp_path: Path) -> None:
    item = make_item(tmp_path, "good")
    run_stages([item], make_stages()[:2])
    recording = item.recording()
    entries = [(item, s, item.segment(s, recording)) for s in item.segments]
    batches = batch_by_padded_seconds(entries, max_batch_s=4.0)
    assert [len(batch) for batch in batches] == [2, 2, 1]
    shuffled = batch_by_padded_seconds(entries[::-1], max_batch_s=4.0)
    assert [[e[2].segment_id for e in b] for b in batches] == [
        [e[2].segment_id for e in b] for b in shuffled
    ]
