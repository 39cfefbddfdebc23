"""Spans of a recording, in samples of the normalized timeline."""

from dataclasses import dataclass

from schemas.verdict import Drop


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Half-open range of samples: `start_sample` is inside, `end_sample` is not."""

    start_sample: int
    end_sample: int

    @property
    def num_samples(self) -> int:
        return self.end_sample - self.start_sample


@dataclass(frozen=True, slots=True, order=True)
class Turn:
    """A span in which one speaker talks. Turns of different speakers may overlap."""

    start_sample: int
    end_sample: int
    speaker: str


@dataclass(frozen=True, slots=True)
class SegmentSpan:
    """A candidate segment, as cut out of the turns; `drop` says why it goes no further."""

    start_sample: int
    end_sample: int
    speaker: str
    overlap_s: float = 0.0
    """Seconds in which somebody else talks as well."""
    drop: Drop | None = None


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word; positions are samples of the normalized timeline of the recording."""

    word: str
    start_sample: int
    end_sample: int
    confidence: float
    """0 to 1, on the engine's own scale."""
