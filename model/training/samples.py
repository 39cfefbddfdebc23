"""Rows of shards as training examples, one function for each task format.

The report's pretraining: speech continuation, speech and text interleaved, ASR, TTS, captioning,
instruct TTS, text only. Its post-training: ASR, TTS, understanding, spoken dialogue, instruct TTS,
text dialogue. All are laid out by `model.tasks`, as prompts are, so the two cannot drift.
"""

# Shapes: F frames, C codebooks.

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import yaml

from model.layout import Codes, TextPiece
from model.reply import Reply
from model.segments import Speech, Text
from model.tasks import DOCUMENT_END, Example, Tasks, Turn
from schemas.errors import ModelError, SpecError

_SHORTEST_PART = 2  # groups on either side of where a recording is cut to be continued
_LONGEST_PAUSE_S = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleRow:
    """What a shard says of a segment. `codes` are `[F, C]`; zeros serve to find out lengths."""

    segment_id: str
    recording_id: str
    speaker: str
    start_s: float
    end_s: float
    text: str | None
    language: str | None
    caption_en: str | None
    caption_zh: str | None
    codes: Codes
    before: "SampleRow | None" = None
    """The segment before it in the same recording, if it is in the same row group."""


Lay = Callable[[Tasks, SampleRow, np.random.Generator], Example]


@dataclass(frozen=True, slots=True)
class Need:
    """What a row must have for a task."""

    said: str
    """In words, after "wants"."""
    fits: Callable[[SampleRow], bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleTask:
    """A task format: which rows it can be made of, and how."""

    need: Need
    lay: Lay


def fitting(row: SampleRow, shares: Mapping[str, float]) -> dict[str, float]:
    """The tasks of `shares` that the row can serve, with their shares."""
    return {name: share for name, share in shares.items() if SAMPLE_TASKS[name].need.fits(row)}


def said_needs(shares: Mapping[str, float]) -> str:
    """What rows must have for each of the tasks, in words."""
    tasks: dict[str, list[str]] = {}
    for name in (name for name, share in shares.items() if share):
        tasks.setdefault(SAMPLE_TASKS[name].need.said, []).append(name)
    return "; ".join(
        f"{' and '.join(names)} {'want' if len(names) > 1 else 'wants'} {said}"
        for said, names in tasks.items()
    )


def check_tasks(shares: Mapping[str, float]) -> None:
    """Raises `SpecError` for a task that is not known, or shares that select nothing."""
    for name, share in shares.items():
        if name not in SAMPLE_TASKS:
            raise SpecError(
                f"data: task {name!r} is not known; there are {', '.join(sorted(SAMPLE_TASKS))}"
            )
        if not 0 <= share < float("inf"):
            raise SpecError(f"data: the share of task {name!r} is {share}, wanted 0 or more")
    if not any(shares.values()):
        raise SpecError("data: all shares of the tasks are 0; give one of them a share")


def draw_task(
    row: SampleRow, shares: Mapping[str, float], random: np.random.Generator
) -> str | None:
    """A task for the row, with a chance according to its share; None where none fits."""
    possible = fitting(row, shares)
    total = sum(possible.values())
    drawn = float(random.random()) * total
    for name, share in possible.items():
        drawn -= share
        if drawn < 0:
            return name
    return next(reversed(possible), None) if total else None


def lay_out(tasks: Tasks, name: str, row: SampleRow, random: np.random.Generator) -> Example:
    """The row as an example of that task. Raises `ModelError` where its text cannot be laid out."""
    return SAMPLE_TASKS[name].lay(tasks, row, random)


def _continue(tasks: Tasks, row: SampleRow, random: np.random.Generator) -> Example:
    """Hears the beginning, goes on to the end; the words of the rest alone are not known."""
    codes = tasks.layout.whole_groups(row.codes)
    groups = len(codes) // tasks.layout.group_size
    cut = int(random.integers(_SHORTEST_PART, groups - _SHORTEST_PART + 1))
    cut *= tasks.layout.group_size
    return tasks.continue_speech(codes[:cut], reply=Reply(text="", codes=codes[cut:]))


def _interleave(tasks: Tasks, row: SampleRow, random: np.random.Generator) -> Example:
    """Text and speech in turns of five and five, with nothing before."""
    return tasks.few_shot([], answer="speech", reply=_spoken(tasks, row))


def _asr_document(tasks: Tasks, row: SampleRow, random: np.random.Generator) -> Example:
    heard = Speech(tasks.layout.whole_groups(row.codes))
    return tasks.few_shot([heard], answer="text", reply=Reply(text=_text(row)))


def _tts_document(tasks: Tasks, row: SampleRow, random: np.random.Generator) -> Example:
    return tasks.few_shot([Text(_text(row))], answer="speech", reply=_spoken(tasks, row))


def _caption(tasks: Tasks, row: SampleRow, random: np.random.Generator) -> Example:
    """Understanding: the captions are the answers that are known of every recording."""
    language, caption = _drawn_caption(row, random)
    question = _drawn(_questions()[f"caption_{language}"], random)
    codes = tasks.layout.whole_groups(row.codes)
    return tasks.understand(codes, question, reply=Reply(text=caption))


def _instruct_tts(tasks: Tasks, row: SampleRow, random: np.random.Generator) -> Example:
    """The caption is the style asked for, and what is thought of before speaking."""
    _, caption = _drawn_caption(row, random)
    codes = tasks.layout.whole_groups(row.codes)
    reply = Reply(text=_text(row), codes=codes, thoughts=caption)
    return tasks.instruct_tts(_text(row), caption, reply=reply, seed=_seed(random))


def _text_document(tasks: Tasks, row: SampleRow, random: np.random.Generator) -> Example:
    ids = tasks.layout.lay(
        [
            TextPiece(token_ids=tasks.text.encode(_text(row))),
            TextPiece(token_ids=tasks.text.encode(DOCUMENT_END)),
        ]
    )
    return Example(ids=ids, labels=ids.copy())


def _asr(tasks: Tasks, row: SampleRow, random: np.random.Generator) -> Example:
    codes = tasks.layout.whole_groups(row.codes)
    return tasks.asr(codes, reply=Reply(text=_text(row)), seed=_seed(random))


def _tts(tasks: Tasks, row: SampleRow, random: np.random.Generator) -> Example:
    return tasks.tts(_text(row), reply=_spoken(tasks, row), seed=_seed(random))


def _spoken_dialogue(tasks: Tasks, row: SampleRow, random: np.random.Generator) -> Example:
    asked = tasks.layout.whole_groups(_before(row).codes)
    turns = [Turn(role="user", codes=asked)]
    return tasks.dialogue(turns, answer="speech", reply=_spoken(tasks, row))


def _text_dialogue(tasks: Tasks, row: SampleRow, random: np.random.Generator) -> Example:
    turns = [Turn(role="user", text=_text(_before(row)))]
    return tasks.dialogue(turns, answer="text", reply=Reply(text=_text(row)))


def _has_text(row: SampleRow) -> bool:
    return bool(row.text and row.text.strip())


def _is_said(row: SampleRow) -> bool:
    """A written document has text and no codes."""
    return _has_text(row) and len(row.codes) > 0


def _has_caption(row: SampleRow) -> bool:
    return bool(row.caption_en or row.caption_zh) and len(row.codes) > 0


def _has_both(row: SampleRow) -> bool:
    return _is_said(row) and _has_caption(row)


def _is_long(row: SampleRow) -> bool:
    return len(row.codes) > 16 * _SHORTEST_PART


def _answers(row: SampleRow) -> bool:
    """Whether it follows soon on what another speaker said."""
    before = row.before
    return (
        before is not None
        and before.recording_id == row.recording_id
        and before.speaker != row.speaker
        and row.start_s - before.end_s <= _LONGEST_PAUSE_S
        and _is_said(row)
        and _is_said(before)
    )


_TEXT = Need("text", _has_text)
_SAID = Need("speech and its text", _is_said)
_LONG = Need(f"speech of more than {16 * _SHORTEST_PART} frames", _is_long)
_CAPTION = Need("speech and a caption", _has_caption)
_BOTH = Need("speech, its text and a caption", _has_both)
_ANSWER = Need("speech and text soon after another speaker's", _answers)

SAMPLE_TASKS: Mapping[str, SampleTask] = {
    "speech_continuation": SampleTask(need=_LONG, lay=_continue),
    "interleaved": SampleTask(need=_SAID, lay=_interleave),
    "asr_document": SampleTask(need=_SAID, lay=_asr_document),
    "tts_document": SampleTask(need=_SAID, lay=_tts_document),
    "caption": SampleTask(need=_CAPTION, lay=_caption),
    "instruct_tts": SampleTask(need=_BOTH, lay=_instruct_tts),
    "text": SampleTask(need=_TEXT, lay=_text_document),
    "asr": SampleTask(need=_SAID, lay=_asr),
    "tts": SampleTask(need=_SAID, lay=_tts),
    "understanding": SampleTask(need=_CAPTION, lay=_caption),
    "spoken_dialogue": SampleTask(need=_ANSWER, lay=_spoken_dialogue),
    "text_dialogue": SampleTask(need=_ANSWER, lay=_text_dialogue),
}
"""The first seven are for pretraining, the others (and `instruct_tts`) for post-training."""


def _spoken(tasks: Tasks, row: SampleRow) -> Reply:
    return Reply(text=_text(row), codes=tasks.layout.whole_groups(row.codes))


def _text(row: SampleRow) -> str:
    if not row.text:
        raise ModelError(f"segment {row.segment_id} has no text, which its task wants")
    return row.text


def _before(row: SampleRow) -> SampleRow:
    if row.before is None:
        raise ModelError(f"segment {row.segment_id} answers nothing, which its task wants")
    return row.before


def _drawn_caption(row: SampleRow, random: np.random.Generator) -> tuple[str, str]:
    """A language and the caption in it."""
    known = {
        language: caption
        for language, caption in (("en", row.caption_en), ("zh", row.caption_zh))
        if caption
    }
    if not known:
        raise ModelError(f"segment {row.segment_id} has no caption, which its task wants")
    language = _drawn(tuple(known), random)
    return language, known[language]


def _drawn(choices: tuple[str, ...], random: np.random.Generator) -> str:
    return choices[int(random.integers(len(choices)))]


def _seed(random: np.random.Generator) -> int:
    return int(random.integers(2**31))


@cache
def _questions() -> Mapping[str, tuple[str, ...]]:
    path = Path(__file__).with_name("questions.yaml")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {name: tuple(lines) for name, lines in content.items()}
