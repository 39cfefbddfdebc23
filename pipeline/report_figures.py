"""What went in, what came out, and where the rest went: the first figures of a report, by SQL."""

from dataclasses import dataclass

import duckdb

from pipeline.sql_rows import sql_row, sql_rows

FRAMES_PER_S = 25


@dataclass(frozen=True, slots=True)
class Headline:
    """What went in and what came out."""

    inputs: int
    done: int
    rejected: int
    failed: int
    forgotten: int
    decoded_s: float
    segments: int
    kept: int
    kept_s: float
    frames: int
    shards: int

    @property
    def yield_fraction(self) -> float | None:
        """Seconds kept over seconds decoded; None before anything was decoded."""
        return self.kept_s / self.decoded_s if self.decoded_s else None


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the funnel; `seconds` is None where a step has no length."""

    name: str
    count: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Loss:
    """What one reason took away between two steps of the funnel."""

    what: str
    """inputs or segments"""
    outcome: str
    """rejected, dropped or failed"""
    reason: str
    count: int
    seconds: float
    median_measured: float | None
    limit: float | None
    """The limit, where all that this reason took was held against the same one."""


def read_headline(connection: duckdb.DuckDBPyConnection) -> Headline:
    """Counts over all inputs; every input is done, rejected, failed or forgotten."""
    row = sql_row(
        connection,
        """
        SELECT count(*) + (SELECT count(*) FROM tombstones) AS inputs,
               count(*) FILTER (outcome = 'done') AS done,
               count(*) FILTER (outcome = 'rejected') AS rejected,
               count(*) FILTER (outcome = 'failed') AS failed,
               (SELECT count(*) FROM tombstones) AS forgotten,
               coalesce(sum(decoded_s), 0) AS decoded_s,
               (SELECT count(*) FROM segments) AS segments,
               (SELECT count(*) FROM segments WHERE verdict = 'kept') AS kept,
               (SELECT coalesce(sum(duration_s), 0) FROM segments WHERE verdict = 'kept') AS kept_s,
               (SELECT coalesce(sum(num_frames), 0)::BIGINT FROM tokens) AS frames,
               (SELECT count(DISTINCT shard) FROM tokens) AS shards
        FROM recordings
        """,
    )
    return Headline(**row)


def read_funnel(connection: duckdb.DuckDBPyConnection, headline: Headline) -> list[Step]:
    """From inputs to kept segments, and to tokens where there are any."""
    row = sql_row(
        connection,
        """
        SELECT count(*) FILTER (decoded_s > 0) AS decoded,
               count(*) FILTER (speech_s > 0) AS with_speech,
               coalesce(sum(speech_s), 0) AS speech_s,
               (SELECT coalesce(sum(duration_s), 0) FROM segments) AS segments_s,
               (SELECT count(*) FROM tokens) AS tokenized
        FROM recordings
        """,
    )
    steps = [
        Step("Inputs", headline.inputs, None),
        Step("Decoded", row["decoded"], headline.decoded_s),
        Step("With speech", row["with_speech"], row["speech_s"]),
        Step("Segments", headline.segments, row["segments_s"]),
        Step("Kept", headline.kept, headline.kept_s),
    ]
    if row["tokenized"]:
        steps.append(Step("Tokenized", row["tokenized"], headline.frames / FRAMES_PER_S))
    return steps


def read_losses(connection: duckdb.DuckDBPyConnection) -> list[Loss]:
    """Every reason for which an input or a segment is not kept, inputs first, largest first."""
    rows = sql_rows(
        connection,
        """
        WITH causes AS (
            SELECT source_id, segment_id, min(stage || ': ' || error_class) AS cause
            FROM failures GROUP BY ALL
        ), lost AS (
            SELECT 'inputs' AS what, outcome, coalesce(reason, cause, 'unknown') AS reason,
                   coalesce(decoded_s, 0) AS seconds, reason_measured, reason_limit
            FROM recordings LEFT JOIN (SELECT * FROM causes WHERE segment_id IS NULL)
                 USING (source_id)
            WHERE outcome != 'done'
            UNION ALL
            SELECT 'segments', verdict, coalesce(reason, cause, 'unknown'), duration_s,
                   reason_measured, reason_limit
            FROM segments LEFT JOIN (SELECT segment_id, cause FROM causes) USING (segment_id)
            WHERE verdict != 'kept'
        )
        SELECT what, outcome, reason, count(*) AS count, sum(seconds) AS seconds,
               median(reason_measured) AS median_measured,
               CASE WHEN min(reason_limit) = max(reason_limit) THEN min(reason_limit) END AS limit_
        FROM lost GROUP BY what, outcome, reason
        ORDER BY what, sum(seconds) DESC, count(*) DESC, reason
        """,
    )
    return [Loss(**{name.rstrip("_"): value for name, value in row.items()}) for row in rows]


def read_languages(connection: duckdb.DuckDBPyConnection) -> list[Step]:
    """Kept segments per language, detected or else transcribed in."""
    rows = sql_rows(
        connection,
        """
        SELECT coalesce(language, asr_language, 'unknown') AS name, count(*) AS count,
               sum(duration_s) AS seconds
        FROM segments WHERE verdict = 'kept' GROUP BY name ORDER BY seconds DESC, name
        """,
    )
    return [Step(**row) for row in rows]
