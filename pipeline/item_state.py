"""One input on its way through the stages, with all that became of it."""

import traceback
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from schemas.errors import ItemError
from schemas.ids import digest, segment_id
from schemas.source import Source
from schemas.spans import SegmentSpan
from schemas.verdict import Drop
from stages.base import Recording, Segment


@dataclass
class Failure:
    """Why an input or a segment failed, as a row of `failures` wants it."""

    stage: str
    error_class: str
    message: str
    traceback: str | None = None

    @classmethod
    def of(cls, stage: str, error: BaseException) -> "Failure":
        """Typed errors speak for themselves; anything else keeps its traceback."""
        if isinstance(error, ItemError):
            return cls(stage, error.error_class, str(error))
        if isinstance(error, MemoryError):
            message = f"stage {stage!r} asked for more memory than there is ({error})"
            return cls(stage, "OOM_ITEM", f"{message}; exclude it, or give the job more memory")
        kind = type(error).__name__
        return cls(
            stage,
            "UNEXPECTED",
            f"{kind}: {error} (a bug in stage {stage!r} or its engine; see the traceback)",
            "".join(traceback.format_exception(error)),
        )


@dataclass
class SegmentState:
    """A candidate segment and its columns so far."""

    segment_id: str
    span: SegmentSpan
    values: dict[str, Any] = field(default_factory=dict)
    drop: Drop | None = None
    failure: Failure | None = None

    @property
    def alive(self) -> bool:
        return self.drop is None and self.failure is None


@dataclass
class ItemState:
    """An input, its values so far, its segments, and its end if it came to one."""

    source: Source
    recording_id: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    segments: list[SegmentState] = field(default_factory=list)
    drop: Drop | None = None
    failure: Failure | None = None

    @property
    def alive(self) -> bool:
        return self.drop is None and self.failure is None

    def cut(self, spans: list[SegmentSpan]) -> None:
        """Makes the candidate segments; those that the segmenter already dropped stay dropped."""
        rate_hz = self.values["audio"].sample_rate_hz
        places = Counter((span.start_sample, span.end_sample) for span in spans)
        for span in spans:
            key = segment_id(self.recording_id or "", span.start_sample, span.end_sample)
            if places[span.start_sample, span.end_sample] > 1:
                # Two speakers in exactly the same span: the id must tell them apart.
                key = digest(key, span.speaker)
            values = {
                "overlap_s": span.overlap_s,
                "duration_s": (span.end_sample - span.start_sample) / rate_hz,
            }
            self.segments.append(SegmentState(key, span, values, drop=span.drop))

    def recording(self) -> Recording:
        """What a stage gets to see of it."""
        return Recording(
            self.source.source_id, self.recording_id or "", self.source.uri, self.values
        )

    def segment(self, state: SegmentState, recording: Recording) -> Segment:
        span = state.span
        return Segment(
            state.segment_id,
            span.start_sample,
            span.end_sample,
            span.speaker,
            state.values,
            recording,
        )
