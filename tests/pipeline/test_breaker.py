"""The circuit breaker: our faults stop the job, bad audio does not, and nobody stays blamed."""

from typing import Any

import pytest

from pipeline.breaker import Blame, Breaker, Ended, blames_of
from schemas.errors import JobStoppedError
from schemas.failures import ERROR_CLASSES


def blame(number: int, error_class: str = "UNEXPECTED", stage: str = "mos") -> Blame:
    return Blame(f"s{number}", stage, error_class, f"no CUDA device ({number})")


def run(breaker: Breaker, inputs: list[Blame | None], committed: list[int]) -> None:
    """Units of one input each, in order."""
    for index, found in enumerate(inputs):
        breaker.see((found,))
        breaker.commit((found,), lambda index=index: committed.append(index))  # type: ignore[misc]


def test_it_stops_at_nine_in_ten_of_one_kind_and_none_of_them_was_committed() -> None:
    inputs = [None] * 30 + [blame(n) if n != 5 else None for n in range(30)]
    committed: list[int] = []
    with pytest.raises(JobStoppedError) as stopped:
        run(Breaker(20), inputs, committed)
    # One of the twenty did not fail, and one before them did not have to.
    assert committed == [*range(30), 35]
    assert "18 of the last 20 inputs failed with UNEXPECTED in stage 'mos'" in str(stopped.value)
    assert "no CUDA device (0)" in str(stopped.value)
    assert "run the same command again" in str(stopped.value)


@pytest.mark.parametrize("error_class", ["NOT_AUDIO", "TRUNCATED", "DECODE_ERROR", "TOO_LONG"])
def test_bad_audio_is_failed_at_once_however_much_there_is(error_class: str) -> None:
    committed: list[int] = []
    run(Breaker(5), [blame(n, error_class) for n in range(50)], committed)
    assert committed == list(range(50))


def test_faults_of_many_kinds_do_not_stop_it_and_are_committed_in_the_end() -> None:
    inputs: list[Blame | None] = [blame(n, stage=f"stage{n % 2}") for n in range(40)]
    committed: list[int] = []
    breaker = Breaker(10)
    run(breaker, inputs, committed)
    assert committed == list(range(30))  # the last ten wait for what comes after them
    breaker.close()
    assert committed == list(range(40))


def test_it_can_be_turned_off() -> None:
    committed: list[int] = []
    run(Breaker(None), [blame(n) for n in range(50)], committed)
    assert committed == list(range(50))


def test_every_class_that_may_be_ours_is_a_class_of_failures() -> None:
    ours = {name for name in ERROR_CLASSES if blame(0, name).may_be_ours}
    assert {"UNEXPECTED", "CRASH", "TIMEOUT", "OOM_ITEM", "ENGINE_ERROR"} <= ours
    assert not ours & {"NOT_AUDIO", "EMPTY_FILE", "DECODE_ERROR", "TRUNCATED", "TOO_LONG"}


def test_an_input_whose_segments_all_failed_counts_although_its_row_says_done() -> None:
    def failure(source: str, segment: str | None, stage: str) -> dict[str, str | None]:
        found = {"source_id": source, "segment_id": segment, "stage": stage}
        return found | {"error_class": "ENDPOINT_ERROR", "message": "503"}

    rows: dict[str, list[dict[str, Any]]] = {
        "recordings": [
            {"source_id": "whole", "outcome": "failed", "num_segments_kept": 0},
            {"source_id": "none kept", "outcome": "done", "num_segments_kept": 0},
            {"source_id": "some kept", "outcome": "done", "num_segments_kept": 3},
            {"source_id": "empty", "outcome": "rejected", "num_segments_kept": 0},
        ],
        "failures": [
            failure("whole", None, "vad"),
            failure("none kept", "a", "mos"),
            failure("none kept", "b", "asr"),
            failure("none kept", "c", "asr"),
            failure("some kept", "d", "asr"),
        ],
    }
    found: Ended = blames_of(rows, num_inputs=5)
    assert [(b.source_id, b.stage) if b else None for b in found] == [
        ("whole", "vad"),
        ("none kept", "asr"),
        None,
        None,
        None,
    ]
