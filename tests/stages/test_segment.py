"""Segments: every sample of a speaker's speech in exactly one span, within the limits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import SpecError
from schemas.spans import SegmentSpan, Span, Turn
from schemas.verdict import Keep
from stages.audio import Audio
from stages.base import Recording
from stages.segment import TurnSegmenter, merge_turns, overlapped, split_at_silence

RATE_HZ = 100


def segments(
    turns: list[Turn], speech: list[Span] | None = None, **spec: float
) -> list[SegmentSpan]:
    audio = Audio(np.zeros(100_000, np.float32), RATE_HZ)
    speech = speech or [Span(t.start_sample, t.end_sample) for t in sorted(turns)]
    values = {"audio": audio, "turns": turns, "speech": speech}
    verdict = TurnSegmenter(TurnSegmenter.Spec(**spec)).process(Recording("s", "r", "u", values))
    assert isinstance(verdict, Keep)
    spans = verdict.values["spans"]
    assert isinstance(spans, list)
    return spans


def turn(start_s: float, end_s: float, speaker: str = "A") -> Turn:
    return Turn(int(start_s * RATE_HZ), int(end_s * RATE_HZ), speaker)


def test_turns_of_one_speaker_merge_below_the_gap_and_not_across_somebody_else() -> None:
    near = [turn(0, 4), turn(5.5, 9)]
    assert [(s.start_sample, s.end_sample) for s in segments(near)] == [(0, 900)]
    assert len(segments([turn(0, 4), turn(6.0, 9)])) == 2
    assert len(segments([*near, turn(4.5, 5.0, "B")])) == 3


def test_a_long_turn_is_split_at_its_longest_silence() -> None:
    speech = [Span(0, 1000), Span(1040, 2000), Span(2150, 4000)]
    spans = segments([turn(0, 40)], speech)
    assert [(s.start_sample, s.end_sample) for s in spans] == [(0, 2000), (2150, 4000)]


def test_a_long_turn_without_silence_is_cut_in_equal_parts() -> None:
    spans = segments([turn(0, 70)], [Span(0, 7000)])
    assert [s.end_sample - s.start_sample for s in spans] == [2333, 2333, 2334]


def test_short_and_overlapped_spans_stay_with_reason_and_figure() -> None:
    kept, short = segments([turn(0, 5), turn(50, 51)])
    assert kept.drop is None
    assert short.drop is not None
    assert (short.drop.reason, short.drop.measured, short.drop.limit) == ("too_short", 1.0, 3.0)
    both = segments([turn(0, 5), turn(4.4, 9, "B")])
    assert [s.drop.reason if s.drop else None for s in both] == ["overlapped_speech"] * 2
    assert [s.overlap_s for s in both] == pytest.approx([0.6, 0.6])
    less = segments([turn(0, 5), turn(4.6, 9, "B")])
    assert [s.drop for s in less] == [None, None]


def test_overlap_with_two_others_at_once_is_counted_once() -> None:
    turns = [turn(0, 10), turn(2, 5, "B"), turn(3, 6, "C")]
    assert overlapped(turns[0], turns) == 400


def test_limits_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(SpecError, match=r"max_s is 5, wanted at least twice min_s \(3\)"):
        TurnSegmenter(TurnSegmenter.Spec(max_s=5.0))


TURNS = st.lists(
    st.builds(
        lambda start, length, speaker: Turn(start, start + length, speaker),
        st.integers(0, 20_000),
        st.integers(1, 6_000),
        st.sampled_from("ABC"),
    ),
    min_size=1,
    max_size=12,
)


@given(TURNS, st.integers(0, 400))
def test_every_sample_of_a_speaker_is_in_exactly_one_span(turns: list[Turn], max_gap: int) -> None:
    merged = merge_turns(turns, max_gap)
    speech = [Span(t.start_sample, t.end_sample) for t in sorted(turns)]
    union: list[Span] = []
    for span in speech:
        if union and span.start_sample <= union[-1].end_sample:
            last = union.pop()
            span = Span(last.start_sample, max(last.end_sample, span.end_sample))
        union.append(span)
    pieces = [piece for one in merged for piece in split_at_silence(one, union, 3000)]
    assert all(0 < p.end_sample - p.start_sample <= 3000 for p in pieces)
    for speaker in "ABC":
        counts = np.zeros(30_000, int)
        for piece in (p for p in pieces if p.speaker == speaker):
            counts[piece.start_sample : piece.end_sample] += 1
        assert counts.max() <= 1
        for one in (t for t in turns if t.speaker == speaker):
            assert counts[one.start_sample : one.end_sample].all()
