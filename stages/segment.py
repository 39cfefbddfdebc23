"""Candidate segments: one speaker, 3 to 30 seconds, cut where nobody speaks.

Same-speaker turns merge below a gap of two seconds unless somebody else talks in it; what is longer
than the limit is split at its longest silence (Emilia, arXiv 2407.05361). Overlap with another
speaker of half a second and more leaves the segment out (NeMo Curator). What is left out stays in
the table with its reason.
"""

import itertools
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from schemas.errors import SpecError
from schemas.spans import SegmentSpan, Span, Turn
from schemas.verdict import Drop, Keep, Verdict
from stages.base import Recording, RecordingStage, StageSpec


class TurnSegmenter(RecordingStage):
    """Cuts speaker turns into candidate segments."""

    class Spec(StageSpec):
        """How long a segment may be, and how much of somebody else it may hold."""

        min_s: float = Field(default=3.0, ge=0.1, le=60)
        max_s: float = Field(default=30.0, ge=1, le=600)
        max_gap_s: float = Field(default=2.0, ge=0, le=10)
        """Turns of one speaker closer than this are one segment."""
        max_overlap_s: float = Field(default=0.5, ge=0.05, le=60)
        """Seconds of another speaker from which on a segment is dropped."""

    spec: Spec
    name, engine = "segment", "turns"
    reads: ClassVar = frozenset({"audio", "speech", "turns"})
    writes: ClassVar = frozenset({"spans", "num_segments"})
    speed_x_real_time = 100_000.0

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        if spec.max_s < 2 * spec.min_s:
            raise SpecError(
                f"stages.segment.max_s is {spec.max_s:g}, wanted at least twice min_s "
                f"({spec.min_s:g}), or splitting leaves pieces that are too short"
            )

    def describe(self) -> str:
        return "turns 1"

    def process(self, recording: Recording) -> Verdict:
        rate_hz = recording.audio.sample_rate_hz
        turns: list[Turn] = recording.values["turns"]
        speech: list[Span] = recording.values["speech"]
        spans = [
            self._judged(span, turns, rate_hz)
            for turn in merge_turns(turns, int(self.spec.max_gap_s * rate_hz))
            for span in split_at_silence(turn, speech, int(self.spec.max_s * rate_hz))
        ]
        spans.sort(key=lambda s: (s.start_sample, s.end_sample, s.speaker))
        return Keep({"spans": spans, "num_segments": len(spans)})

    def _judged(self, turn: Turn, turns: Sequence[Turn], rate_hz: int) -> SegmentSpan:
        overlap_s = overlapped(turn, turns) / rate_hz
        duration_s = (turn.end_sample - turn.start_sample) / rate_hz
        drop = None
        if duration_s < self.spec.min_s:
            drop = Drop("too_short", measured=duration_s, limit=self.spec.min_s)
        elif overlap_s >= self.spec.max_overlap_s:
            drop = Drop("overlapped_speech", measured=overlap_s, limit=self.spec.max_overlap_s)
        return SegmentSpan(turn.start_sample, turn.end_sample, turn.speaker, overlap_s, drop)


def merge_turns(turns: Sequence[Turn], max_gap: int) -> list[Turn]:
    """Turns with those of one speaker joined whose gap is below `max_gap` samples.

    A gap in which somebody else talks stays a border. Turns of one speaker that touch or overlap
    are always joined, so that no sample is in two of them.
    """
    merged: list[Turn] = []
    for speaker in sorted({turn.speaker for turn in turns}):
        others = sorted(t for t in turns if t.speaker != speaker)
        current: Turn | None = None
        for turn in sorted(t for t in turns if t.speaker == speaker):
            if current is None:
                current = turn
                continue
            gap = Span(current.end_sample, turn.start_sample)
            joined = gap.num_samples <= 0 or (
                gap.num_samples < max_gap and not any(_meet(gap, other) for other in others)
            )
            if joined:
                end = max(current.end_sample, turn.end_sample)
                current = Turn(current.start_sample, end, speaker)
            else:
                merged.append(current)
                current = turn
        if current is not None:
            merged.append(current)
    return sorted(merged)


def split_at_silence(turn: Turn, speech: Sequence[Span], max_samples: int) -> list[Turn]:
    """Pieces of a turn of at most `max_samples`, split at the longest silences in it.

    The silence itself is left out. Speech without a pause for so long is cut in equal parts.
    """
    start, end = turn.start_sample, turn.end_sample
    if end - start <= max_samples:
        return [turn]
    gaps = _gaps(turn, speech)
    if gaps:
        # The longest; of equal ones that nearest the middle, so that pieces come out even.
        middle = (start + end) / 2
        gap = max(gaps, key=lambda g: (g.num_samples, -abs(g.start_sample - middle)))
        left = Turn(start, gap.start_sample, turn.speaker)
        right = Turn(gap.end_sample, end, turn.speaker)
        return [
            *split_at_silence(left, speech, max_samples),
            *split_at_silence(right, speech, max_samples),
        ]
    parts = -(-(end - start) // max_samples)
    borders = [start + (end - start) * part // parts for part in range(parts + 1)]
    return [Turn(a, b, turn.speaker) for a, b in itertools.pairwise(borders)]


def overlapped(turn: Turn, turns: Sequence[Turn]) -> int:
    """Samples of `turn` in which at least one other speaker talks."""
    covered, reached = 0, turn.start_sample
    for other in sorted(turns):
        if other.speaker == turn.speaker:
            continue
        start = max(other.start_sample, reached)
        end = min(other.end_sample, turn.end_sample)
        if end > start:
            covered += end - start
            reached = end
    return covered


def _gaps(turn: Turn, speech: Sequence[Span]) -> list[Span]:
    """Silences strictly inside a turn."""
    inside = [s for s in speech if _meet(s, turn)]
    gaps = [Span(a.end_sample, b.start_sample) for a, b in itertools.pairwise(inside)]
    return [
        gap
        for gap in gaps
        if gap.num_samples > 0
        and gap.start_sample > turn.start_sample
        and gap.end_sample < turn.end_sample
    ]


def _meet(one: Span, other: Span | Turn) -> bool:
    return one.start_sample < other.end_sample and other.start_sample < one.end_sample
