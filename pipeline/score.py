"""How right a run was: its transcripts and turns against the ground truth that is known.

Transcripts: the text of all segments in order of start, whatever their verdict, against the
reference. Speech that never reached recognition counts as deleted. Words that two people say at
once have no order that is right, so overlapping speech costs errors even when all was heard.

Nothing drops out in silence: a reference without output (its input failed or was rejected, or no
stage answers it) and one that cannot be compared (another language) are listed with their reason,
and are in no figure.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import duckdb

from pipeline.error_rates import FORGIVING_COLLAR_S, text_errors, turn_errors
from pipeline.references import Reference, ReferenceTurn
from pipeline.score_result import Kind, Score, TextScore, TurnScore, Unscored
from pipeline.transcript_text import language_by_script


@dataclass(frozen=True, slots=True)
class _Heard:
    """What the job has to say about one input."""

    outcome: str
    why: str
    """Why there is no output; read only where there is none."""
    duration_s: float
    diarized: bool
    text: str
    language_s: Mapping[str, float]
    """Seconds transcribed per language."""
    turns: tuple[ReferenceTurn, ...]


def score_manifest(
    connection: duckdb.DuckDBPyConnection, references: Mapping[str, Reference]
) -> Score:
    """Scores the committed rows of a job; needs `recordings`, `segments`, `turns`, `failures`."""
    heard = _heard(connection, list(references))
    known = connection.execute(
        "SELECT DISTINCT asr_language FROM segments WHERE asr_engine IS NOT NULL"
    ).fetchall()
    languages = {_primary(language) for (language,) in known if language}
    texts: list[TextScore] = []
    turns: list[TurnScore] = []
    no_output: list[Unscored] = []
    not_comparable: list[Unscored] = []
    for uri, reference in sorted(references.items()):
        one = heard.get(uri)
        for kind in _kinds(reference):
            if one is None or one.outcome != "done":
                why = "its input is not processed yet" if one is None else one.why
                no_output.append(Unscored(uri, kind, why))
            elif kind == "transcript" and not known:
                no_output.append(Unscored(uri, kind, "the job has transcribed nothing"))
            elif kind == "turns" and not one.diarized:
                no_output.append(Unscored(uri, kind, "the job has not diarized it"))
            elif kind == "turns":
                turns.append(_score_turns(uri, reference.turns or (), one))
            else:
                scored = _score_text(uri, reference, one, languages)
                if isinstance(scored, TextScore):
                    texts.append(scored)
                else:
                    not_comparable.append(scored)
    return Score(tuple(texts), tuple(turns), tuple(no_output), tuple(not_comparable))


def _kinds(reference: Reference) -> Iterator[Kind]:
    if reference.transcript is not None:
        yield "transcript"
    if reference.turns is not None:
        yield "turns"


def _score_text(
    uri: str, reference: Reference, heard: _Heard, languages: set[str]
) -> TextScore | Unscored:
    """A score where the reference is in the language in which most of the recording was heard.

    A recording in which nothing was heard is held against the languages of the whole job: silence
    where an engine knows the language is an error, and no figure at all where it does not.
    """
    transcript = reference.transcript or ""
    wanted = _primary(reference.language or "") or language_by_script(transcript)
    spoken = max(heard.language_s, key=lambda name: heard.language_s[name], default=None)
    if spoken is None and wanted is None and len(languages) == 1:
        (wanted,) = languages
    if wanted is None:
        wanted = spoken  # a Latin script without a stated language: taken at the engine's word
    if wanted is None:
        return Unscored(uri, "transcript", "nothing was heard, and its language is unknown")
    if spoken is not None and spoken != wanted:
        return Unscored(
            uri, "transcript", f"it is in {wanted!r}, but was transcribed as {spoken!r}"
        )
    if spoken is None and wanted not in languages:
        known = ", ".join(sorted(languages)) or "nothing"
        return Unscored(uri, "transcript", f"it is in {wanted!r}; this job transcribes {known}")
    errors = text_errors(transcript, heard.text, wanted)
    if not errors.reference_tokens:
        return Unscored(uri, "transcript", "the reference holds no words")
    return TextScore(uri, wanted, errors)


def _score_turns(uri: str, turns: tuple[ReferenceTurn, ...], heard: _Heard) -> TurnScore:
    forgiving, strict = (
        turn_errors(turns, heard.turns, heard.duration_s, collar_s=collar_s, skip_overlap=skip)
        for collar_s, skip in ((FORGIVING_COLLAR_S, True), (0.0, False))
    )
    return TurnScore(uri, forgiving, strict)


def _heard(connection: duckdb.DuckDBPyConnection, uris: list[str]) -> dict[str, _Heard]:
    rows = connection.execute(
        """
        SELECT r.uri, r.source_id, r.outcome, r.reason, r.duration_s, r.diarize_engine IS NOT NULL,
               (SELECT min(f.stage || ': ' || f.error_class) FROM failures f
                WHERE f.source_id = r.source_id AND f.segment_id IS NULL)
        FROM recordings r WHERE r.uri IN (SELECT unnest(?::VARCHAR[]))
        -- of several versions of a file the one with output speaks for it
        ORDER BY r.uri, r.outcome = 'done', r.source_id
        """,
        [uris],
    ).fetchall()
    source_of = {uri: source_id for uri, source_id, *_ in rows}
    sources = list(source_of.values())
    texts: dict[str, list[str]] = defaultdict(list)
    language_s: dict[str, Counter[str]] = defaultdict(Counter)
    for source_id, text, language, duration_s in connection.execute(
        """
        SELECT source_id, text, asr_language, duration_s FROM segments
        WHERE coalesce(trim(text), '') != '' AND source_id IN (SELECT unnest(?::VARCHAR[]))
        ORDER BY source_id, start_sample, end_sample, segment_id
        """,
        [sources],
    ).fetchall():
        texts[source_id].append(text)
        language_s[source_id][_primary(language or "") or "unknown"] += duration_s
    turns: dict[str, list[ReferenceTurn]] = defaultdict(list)
    for source_id, start_s, end_s, speaker in connection.execute(
        """
        SELECT source_id, start_sample / sample_rate_hz, end_sample / sample_rate_hz, speaker
        FROM turns WHERE source_id IN (SELECT unnest(?::VARCHAR[]))
        ORDER BY source_id, turn_index
        """,
        [sources],
    ).fetchall():
        turns[source_id].append(ReferenceTurn(start_s, end_s, speaker))
    return {
        uri: _Heard(
            outcome=outcome,
            why=_why_no_output(outcome, failure or reason),
            duration_s=duration_s or 0.0,
            diarized=diarized,
            text=" ".join(texts[source_id]),
            language_s=language_s[source_id],
            turns=tuple(turns[source_id]),
        )
        for uri, source_id, outcome, reason, duration_s, diarized, failure in rows
    }


def _why_no_output(outcome: str, cause: str | None) -> str:
    happened = "failed" if outcome == "failed" else f"was {outcome}"
    return f"its input {happened}" + (f" ({cause})" if cause else "")


def _primary(language: str) -> str:
    """`zh` of `zh-CN`."""
    return language.replace("_", "-").partition("-")[0].strip().lower()
