"""`model/training/samples.py`: every task format from rows, and what fits which row."""

from dataclasses import replace

import numpy as np
import pytest

from model.layout import FILLER
from model.small import small_spec
from model.tasks import Example, Tasks
from model.text import TextTokenizer
from model.training.samples import (
    SAMPLE_TASKS,
    SampleRow,
    check_tasks,
    draw_task,
    fitting,
    lay_out,
)
from schemas.errors import SpecError

SPEC = small_spec()


@pytest.fixture(scope="module")
def tasks() -> Tasks:
    return Tasks(TextTokenizer.of_bytes(), empty_codes=SPEC.empty_codes)


def codes_of(seed: int, frames: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.random.default_rng(seed).integers(0, SPEC.empty_codes, (frames, 8))


@pytest.fixture
def row() -> SampleRow:
    asked = SampleRow(
        segment_id="a",
        recording_id="r",
        speaker="S1",
        start_s=0.0,
        end_s=3.0,
        text="where is it",
        language="en",
        caption_en="A calm voice.",
        caption_zh="平静的声音。",
        codes=codes_of(1, 37),
    )
    return replace(
        asked, segment_id="b", speaker="S2", start_s=3.5, end_s=5.0, text="in the box", before=asked
    )


def lay(tasks: Tasks, name: str, row: SampleRow, seed: int = 0) -> Example:
    return lay_out(tasks, name, row, np.random.default_rng(seed))


def trained_text(tasks: Tasks, example: Example) -> str:
    ids = [int(one) for one in example.labels[0, ::4] if one != FILLER]
    return tasks.text.decode([one for one in ids if one != tasks.text.special.empty])


@pytest.mark.parametrize("name", SAMPLE_TASKS)
def test_a_task_lays_out_the_same_for_a_seed_in_a_length_that_zeros_tell(
    tasks: Tasks, row: SampleRow, name: str
) -> None:
    example = lay(tasks, name, row)
    assert np.array_equal(example.ids, lay(tasks, name, row).ids)
    assert example.ids.shape[1] % 4 == 0
    trained = example.labels != FILLER
    assert trained.any()
    assert np.array_equal(example.labels[trained], example.ids[trained])
    assert row.before is not None
    blank = replace(
        row,
        codes=np.zeros_like(row.codes),
        before=replace(row.before, codes=np.zeros_like(row.before.codes)),
    )
    assert lay(tasks, name, blank).ids.shape == example.ids.shape


@pytest.mark.parametrize(
    ("name", "spoken", "said"),
    [
        ("interleaved", True, "in the box"),
        ("tts", True, "in the box"),
        ("spoken_dialogue", True, "in the box"),
        ("asr", False, "in the box"),
        ("asr_document", False, "in the box"),
        ("text_dialogue", False, "in the box"),
        ("text", False, "in the box"),
        ("speech_continuation", True, ""),
        ("instruct_tts", True, "in the box"),
    ],
)
def test_the_answer_is_trained_and_the_question_is_not(
    tasks: Tasks, row: SampleRow, name: str, spoken: bool, said: str
) -> None:
    example = lay(tasks, name, row)
    assert said in trained_text(tasks, example)
    assert "where is it" not in trained_text(tasks, example)
    audio = example.labels[0, ::4] == tasks.text.special.empty
    assert bool(audio.any()) == spoken
    if spoken and name != "speech_continuation":
        frames = example.labels[1:].T.reshape(-1, 4, 8)[audio].reshape(-1, 8)
        assert np.array_equal(frames, tasks.layout.whole_groups(row.codes))


def test_a_continuation_hears_the_beginning_and_speaks_the_rest(
    tasks: Tasks, row: SampleRow
) -> None:
    example = lay(tasks, "speech_continuation", row)
    is_audio = np.repeat(example.ids[0, ::4] == tasks.text.special.empty, 4)
    assert np.array_equal(example.ids[1:, is_audio].T, tasks.layout.whole_groups(row.codes))
    heard = is_audio & (np.repeat(example.labels[0, ::4], 4) == FILLER)
    assert 8 <= heard.sum() <= 32


def test_rows_serve_the_tasks_that_they_have_what_it_takes_for(row: SampleRow) -> None:
    every = dict.fromkeys(SAMPLE_TASKS, 1.0)
    assert set(fitting(row, every)) == set(every)
    mute = replace(row, text=None, before=None, caption_en=None, caption_zh=None)
    assert set(fitting(mute, every)) == {"speech_continuation"}
    same_speaker = replace(row, speaker="S1")
    assert not {"spoken_dialogue", "text_dialogue"} & set(fitting(same_speaker, every))
    late = replace(row, start_s=60.0)
    assert not {"spoken_dialogue", "text_dialogue"} & set(fitting(late, every))


def test_tasks_are_drawn_by_their_shares(row: SampleRow) -> None:
    shares = {"asr": 3.0, "tts": 1.0, "text": 0.0}
    random = np.random.default_rng(0)
    drawn = [draw_task(row, shares, random) for _ in range(2000)]
    assert drawn.count("text") == 0
    assert 0.70 < drawn.count("asr") / len(drawn) < 0.80
    assert draw_task(replace(row, text=None), shares, random) is None


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"asrr": 1.0}, "task 'asrr' is not known"),
        ({"asr": -1.0}, "share of task 'asr' is -1"),
        ({"asr": 0.0}, "all shares of the tasks are 0"),
    ],
)
def test_shares_that_mean_nothing_are_refused(shares: dict[str, float], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        check_tasks(shares)
