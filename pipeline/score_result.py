"""What a scoring found: error rates per recording and over all, and what could not be scored."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pipeline.error_rates import FORGIVING_COLLAR_S, TextErrors, TurnErrors
from pipeline.shown_text import clean, common_folder, shown_name
from pipeline.transcript_text import CHARACTER_LANGUAGES

Kind = Literal["transcript", "turns"]
Unit = Literal["words", "characters"]
UNIT_NAMES: dict[Unit, str] = {"words": "word", "characters": "character"}


@dataclass(frozen=True, slots=True)
class TextScore:
    """Transcript of one recording against its reference."""

    uri: str
    language: str
    errors: TextErrors

    @property
    def unit(self) -> Unit:
        return "characters" if self.language in CHARACTER_LANGUAGES else "words"


@dataclass(frozen=True, slots=True)
class TurnScore:
    """Turns of one recording against its reference, scored in two customary ways."""

    uri: str
    forgiving: TurnErrors
    """0.25 s on either side of a boundary and overlapped speech left out."""
    strict: TurnErrors
    """Everything counts."""


@dataclass(frozen=True, slots=True)
class Unscored:
    """A reference that is in no figure, and why."""

    uri: str
    kind: Kind
    why: str


@dataclass(frozen=True, slots=True)
class Score:
    """Figures over all references of a job. Each sequence is in order of URI."""

    texts: tuple[TextScore, ...] = ()
    turns: tuple[TurnScore, ...] = ()
    no_output: tuple[Unscored, ...] = ()
    not_comparable: tuple[Unscored, ...] = ()

    @property
    def num_references(self) -> int:
        """Transcripts plus turn files; equals what was scored plus what is listed as not."""
        scored = len(self.texts) + len(self.turns)
        return scored + len(self.no_output) + len(self.not_comparable)

    def text_total(self, unit: Unit) -> TextErrors:
        """Corpus errors of all recordings that are counted in words, or in characters."""
        return sum((text.errors for text in self.texts if text.unit == unit), start=TextErrors())

    @property
    def word_error_rate(self) -> float | None:
        return self.text_total("words").rate

    @property
    def character_error_rate(self) -> float | None:
        return self.text_total("characters").rate

    def turn_total(self, *, forgiving: bool) -> TurnErrors:
        """Corpus seconds over all recordings with reference turns."""
        return sum(
            (turn.forgiving if forgiving else turn.strict for turn in self.turns),
            start=TurnErrors(),
        )

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values, rates included; None where a rate is undefined."""
        forgiving, strict = self.turn_total(forgiving=True), self.turn_total(forgiving=False)
        return {
            "references": self.num_references,
            "word_error_rate": self.word_error_rate,
            "words": asdict(self.text_total("words")),
            "character_error_rate": self.character_error_rate,
            "characters": asdict(self.text_total("characters")),
            "diarization_error_rate": forgiving.rate,
            "diarization": asdict(forgiving),
            "diarization_error_rate_strict": strict.rate,
            "diarization_strict": asdict(strict),
            "collar_s": FORGIVING_COLLAR_S,
            "recordings": [
                {
                    "uri": text.uri,
                    "language": text.language,
                    "unit": text.unit,
                    "error_rate": text.errors.rate,
                    **asdict(text.errors),
                }
                for text in self.texts
            ],
            "turns": [
                {
                    "uri": turn.uri,
                    "diarization_error_rate": turn.forgiving.rate,
                    "diarization_error_rate_strict": turn.strict.rate,
                    "forgiving": asdict(turn.forgiving),
                    "strict": asdict(turn.strict),
                }
                for turn in self.turns
            ],
            "no_output": [asdict(unscored) for unscored in self.no_output],
            "not_comparable": [asdict(unscored) for unscored in self.not_comparable],
        }

    def to_text(self, max_rows: int = 20) -> str:
        """Lines for a terminal: the totals, the recordings (worst first, where there are more than
        `max_rows`), and each reference that is in no figure."""
        scored = [text.uri for text in self.texts] + [turn.uri for turn in self.turns]
        uris = scored + [one.uri for one in self.unscored]
        folder = common_folder(min(uris), max(uris)) if uris else ""
        texts = sorted(self.texts, key=lambda text: -(text.errors.rate or 0.0))
        turns = sorted(self.turns, key=lambda turn: -(turn.forgiving.rate or 0.0))
        lines = self.summary()
        lines += _rows(
            [
                f"{percent(text.errors.rate)}  of {text.errors.reference_tokens:5d} {text.unit}"
                f"  {shown_name(text.uri, folder)}"
                for text in (texts if len(texts) > max_rows else self.texts)
            ],
            max_rows,
        )
        lines += _rows(
            [
                f"{percent(turn.forgiving.rate)}, strict {percent(turn.strict.rate)}"
                f"  {shown_name(turn.uri, folder)}"
                for turn in (turns if len(turns) > max_rows else self.turns)
            ],
            max_rows,
        )
        lines += _rows(
            [
                f"no figure for the {one.kind} of {shown_name(one.uri, folder)}: {clean(one.why)}"
                for one in self.unscored
            ],
            max_rows,
        )
        return "\n".join(lines)

    @property
    def unscored(self) -> tuple[Unscored, ...]:
        return (*self.no_output, *self.not_comparable)

    def summary(self) -> list[str]:
        """The totals, a line each."""
        if not self.num_references:
            return [
                "no references: put NAME.txt or NAME.rttm beside NAME.wav to have the run scored"
            ]
        lines = []
        for unit, name in UNIT_NAMES.items():
            errors = self.text_total(unit)
            recordings = sum(text.unit == unit for text in self.texts)
            if recordings:
                lines.append(
                    f"{name} error rate {percent(errors.rate)} over {_recordings(recordings)}: of "
                    f"{errors.reference_tokens} {unit} {errors.substitutions} heard as others, "
                    f"{errors.deletions} not heard, {errors.insertions} too many"
                )
        if self.turns:
            forgiving, strict = self.turn_total(forgiving=True), self.turn_total(forgiving=False)
            lines.append(
                f"diarization error rate {percent(forgiving.rate)} over "
                f"{_recordings(len(self.turns))} (collar {FORGIVING_COLLAR_S} s, overlap left out)"
                f"; {percent(strict.rate)} when all counts"
            )
        if self.unscored:
            lines.append(
                f"of {self.num_references} references {len(self.no_output)} have no output and "
                f"{len(self.not_comparable)} are not comparable"
            )
        return lines


def percent(rate: float | None) -> str:
    """`12.3 %`, or a dash where a rate is undefined."""
    return "-" if rate is None else f"{100 * rate:.1f} %"


def _recordings(number: int) -> str:
    return "1 recording" if number == 1 else f"{number} recordings"


def _rows(rows: Sequence[str], max_rows: int) -> list[str]:
    more = [f"  and {len(rows) - max_rows} more"] if len(rows) > max_rows else []
    return [f"  {row}" for row in rows[:max_rows]] + more
