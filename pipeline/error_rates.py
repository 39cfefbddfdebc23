"""How far a transcript and a diarization are from the truth: counts that can be added up."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pipeline.references import ReferenceTurn
from pipeline.transcript_text import tokens

if TYPE_CHECKING:
    from pyannote.core import Annotation

FORGIVING_COLLAR_S = 0.25
"""Left unscored on either side of a reference boundary, as in the NIST evaluations."""


@dataclass(frozen=True, slots=True)
class TextErrors:
    """Tokens (words, or characters in a language without spaces) of a reference and their fate."""

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def reference_tokens(self) -> int:
        return self.hits + self.substitutions + self.deletions

    @property
    def rate(self) -> float | None:
        """Errors over reference tokens, may exceed 1; None where there is no reference token."""
        errors = self.substitutions + self.deletions + self.insertions
        return errors / self.reference_tokens if self.reference_tokens else None

    def __add__(self, other: Self) -> "TextErrors":
        return TextErrors(
            self.hits + other.hits,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


@dataclass(frozen=True, slots=True)
class TurnErrors:
    """Seconds of speech in the reference, and those that diarization missed, invented, mixed up."""

    speech_s: float = 0.0
    missed_s: float = 0.0
    false_alarm_s: float = 0.0
    confusion_s: float = 0.0

    @property
    def rate(self) -> float | None:
        """Diarization error rate, may exceed 1; None where the reference has no scored speech."""
        errors_s = self.missed_s + self.false_alarm_s + self.confusion_s
        return errors_s / self.speech_s if self.speech_s > 0 else None

    def __add__(self, other: Self) -> "TurnErrors":
        return TurnErrors(
            self.speech_s + other.speech_s,
            self.missed_s + other.missed_s,
            self.false_alarm_s + other.false_alarm_s,
            self.confusion_s + other.confusion_s,
        )


def text_errors(reference: str, heard: str, language: str) -> TextErrors:
    """Errors of a transcript after both sides were normalised by the rules of `language`."""
    from jiwer import process_words

    wanted, found = tokens(reference, language), tokens(heard, language)
    if not wanted:
        return TextErrors(insertions=len(found))
    output = process_words(" ".join(wanted), " ".join(found))
    return TextErrors(output.hits, output.substitutions, output.deletions, output.insertions)


def turn_errors(
    reference: Sequence[ReferenceTurn],
    heard: Sequence[ReferenceTurn],
    duration_s: float,
    *,
    collar_s: float,
    skip_overlap: bool,
) -> TurnErrors:
    """Diarization errors over the whole recording, under the best matching of speaker names.

    `collar_s` seconds on either side of each reference boundary are not scored; with `skip_overlap`
    neither is time in which two or more reference speakers talk.
    """
    from pyannote.core import Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate

    # The package centres a collar on the boundary: its figure is the sum of both sides.
    metric = DiarizationErrorRate(collar=2 * collar_s, skip_overlap=skip_overlap)
    scored = Timeline([Segment(0.0, duration_s)])
    parts = metric(_annotation(reference), _annotation(heard), uem=scored, detailed=True)
    return TurnErrors(
        speech_s=float(parts["total"]),
        missed_s=float(parts["missed detection"]),
        false_alarm_s=float(parts["false alarm"]),
        confusion_s=float(parts["confusion"]),
    )


def _annotation(turns: Sequence[ReferenceTurn]) -> "Annotation":
    from pyannote.core import Annotation, Segment

    annotation = Annotation()
    for number, turn in enumerate(turns):
        annotation[Segment(turn.start_s, turn.end_s), number] = turn.speaker
    # A speaker who overlaps himself would count as two.
    return annotation.support()
