"""Characters of a transcript to samples of the recording, by way of its words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.spans import Word
from stages.base import Segment

_SEARCH_CHARACTERS = 80
"""How far ahead a word is looked for, so that one odd word does not swallow the rest."""


@dataclass(frozen=True, slots=True)
class _Aligned:
    start: int
    end: int
    start_sample: int
    end_sample: int


def place(segment: Segment, start: int, end: int) -> tuple[int, int]:
    """Samples in which the characters `start`..`end` of the segment's text are said.

    Never too little: where words do not cover the characters (spoken digits that the transcript
    writes as a number), the span reaches to the nearest words that are known; without any words it
    is the whole segment.
    """
    text: str = segment.values["text"]
    aligned = _align(text, segment.values["words"] or ())
    inside = [a for a in aligned if a.start < end and start < a.end]
    said = {i for i in range(start, end) if text[i].isalnum()}
    if inside and said <= {i for a in inside for i in range(a.start, a.end)}:
        return inside[0].start_sample, inside[-1].end_sample
    before = [a.end_sample for a in aligned if a.end <= start]
    after = [a.start_sample for a in aligned if a.start >= end]
    placed_start = before[-1] if before else segment.start_sample
    placed_end = after[0] if after else segment.end_sample
    if placed_end <= placed_start:
        return segment.start_sample, segment.end_sample
    return placed_start, placed_end


def _align(text: str, words: Sequence[Word | Mapping[str, Any]]) -> list[_Aligned]:
    """Words at their places in the text, in order; those that are not found are left out."""
    lowered = text.lower()
    if len(lowered) != len(text):  # a few letters change their length, and places would shift
        lowered = text
    aligned: list[_Aligned] = []
    cursor = 0
    for entry in words:
        word = entry if isinstance(entry, Word) else Word(**entry)
        written = word.word.strip().lower()
        limit = cursor + _SEARCH_CHARACTERS + len(written)
        at = lowered.find(written, cursor, limit) if written else -1
        if at < 0:
            continue
        cursor = at + len(written)
        aligned.append(_Aligned(at, cursor, word.start_sample, word.end_sample))
    return aligned
