"""Stretches, names and overlap of turns."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from schemas.spans import Span, Turn
from stages.diarize.turns import name_turns, overlap_samples, stretches

SPEECH = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 300)), max_size=20).map(
    lambda steps: _in_order(steps)
)
TURNS = st.lists(
    st.builds(
        lambda start, length, speaker: Turn(start, start + length, speaker),
        st.integers(0, 200),
        st.integers(1, 60),
        st.sampled_from("ABC"),
    ),
    max_size=12,
)


def _in_order(steps: list[tuple[int, int]]) -> list[Span]:
    spans, at = [], 0
    for gap, length in steps:
        spans.append(Span(at + gap, at + gap + length))
        at += gap + length + 1
    return spans


def samples(spans: list[Span]) -> list[int]:
    return [sample for span in spans for sample in range(span.start_sample, span.end_sample)]


@given(SPEECH, st.integers(1, 400))
def test_stretches_hold_all_speech_once_and_stay_within_their_limit(
    speech: list[Span], limit: int
) -> None:
    groups = stretches(speech, limit)
    assert samples([span for group in groups for span in group]) == samples(speech)
    assert all(group[-1].end_sample - group[0].start_sample <= limit for group in groups)


def test_a_stretch_takes_as_many_spans_as_fit() -> None:
    speech = [Span(0, 10), Span(20, 30), Span(90, 100), Span(200, 210)]
    assert stretches(speech, 100) == [speech[:3], speech[3:]]


def test_speakers_are_named_in_the_order_in_which_they_appear() -> None:
    turns = name_turns([(50, 60, "x"), (0, 10, "y"), (10, 20, "x"), (70, 80, 3)])
    assert turns == [Turn(0, 10, "S1"), Turn(10, 20, "S2"), Turn(50, 60, "S2"), Turn(70, 80, "S3")]


@given(TURNS)
def test_overlap_is_where_two_different_speakers_talk(turns: list[Turn]) -> None:
    talking = np.zeros((3, 300), bool)
    for turn in turns:
        talking["ABC".index(turn.speaker), turn.start_sample : turn.end_sample] = True
    assert overlap_samples(turns) == int((talking.sum(axis=0) > 1).sum())
