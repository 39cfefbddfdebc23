"""The tables of a report: stages and their cost, runs, failures, engines, samples, by SQL."""

from dataclasses import dataclass

import duckdb

from pipeline.sql_rows import Row, sql_row, sql_rows

NUM_KEPT_SAMPLES = 12
NUM_DROPPED_SAMPLES = 6
MAX_FAILURE_ROWS = 50
MAX_RUN_ROWS = 10


@dataclass(frozen=True, slots=True)
class StageSum:
    """What a stage took over all runs."""

    stage: str
    engine: str
    items: int
    compute_s: float
    x_real_time: float | None
    """Seconds of decoded audio per second of compute."""


def read_stages(connection: duckdb.DuckDBPyConnection) -> list[StageSum]:
    """Items and compute seconds per stage over all runs, in the order in which they first ran."""
    rows = sql_rows(
        connection,
        """
        WITH parts AS (
            SELECT started_at, unnest(stages) AS part, generate_subscripts(stages, 1) AS place
            FROM runs
        ), audio AS (SELECT 3600 * sum(hours) AS audio_s FROM runs)
        SELECT part.stage AS stage, coalesce(part.engine, '') AS engine,
               sum(part.items)::BIGINT AS items, sum(part.compute_s) AS compute_s,
               CASE WHEN sum(part.compute_s) > 0 AND any_value(audio_s) > 0
                    THEN any_value(audio_s) / sum(part.compute_s) END AS x_real_time
        FROM parts, audio GROUP BY part.stage, part.engine
        ORDER BY min((started_at, place))
        """,
    )
    return [StageSum(**row) for row in rows]


def read_costs(connection: duckdb.DuckDBPyConnection) -> dict[str, float]:
    """Cost over all runs, by currency."""
    rows = sql_rows(
        connection,
        "SELECT currency, sum(cost) AS cost FROM runs GROUP BY currency ORDER BY currency",
    )
    return {row["currency"]: row["cost"] for row in rows}


def read_runs(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    """The latest runs, newest first."""
    return sql_rows(
        connection,
        f"""
        SELECT strftime(started_at::TIMESTAMPTZ AT TIME ZONE 'UTC', '%Y-%m-%d %H:%M') AS started,
               ending, inputs, hours, wall_s, workers, cpus, gpus, cost, currency
        FROM runs ORDER BY started_at DESC, run_id LIMIT {MAX_RUN_ROWS}
        """,
    )


def read_failures(connection: duckdb.DuckDBPyConnection) -> tuple[int, list[Row]]:
    """How many failures there are, and the first of them."""
    total = sql_row(connection, "SELECT count(*) AS total FROM failures")["total"]
    rows = sql_rows(
        connection,
        f"""
        SELECT uri, segment_id, stage, error_class, message FROM failures
        ORDER BY segment_id IS NOT NULL, uri, segment_id LIMIT {MAX_FAILURE_ROWS}
        """,
    )
    return total, rows


def read_engines(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, int]]:
    """Stage, what it ran (engine, version, model) and the rows that carry it."""
    found: list[tuple[str, str, int]] = []
    for table in ("recordings", "segments"):
        names = [row["column_name"] for row in sql_rows(connection, f"DESCRIBE {table}")]
        for column in (name for name in names if name.endswith("_engine")):
            rows = sql_rows(
                connection,
                f"SELECT {column} AS engine, count(*) AS count FROM {table} "
                f"WHERE {column} IS NOT NULL GROUP BY engine ORDER BY engine",
            )
            stage = column.removesuffix("_engine").replace("_", " ")
            found += [(stage, row["engine"], row["count"]) for row in rows]
    return found


def read_samples(connection: duckdb.DuckDBPyConnection, *, kept: bool) -> list[Row]:
    """Rows of `segments`, with the `uri` of their recording, in order of URI and time.

    The ones with the smallest ids: ids are digests, so this is a fair draw, and the same each time.
    """
    verdicts, number = (
        ("verdict = 'kept'", NUM_KEPT_SAMPLES)
        if kept
        else ("verdict = 'dropped'", NUM_DROPPED_SAMPLES)
    )
    return sql_rows(
        connection,
        f"""
        SELECT s.*, r.uri FROM (
            SELECT * FROM segments WHERE {verdicts} ORDER BY segment_id LIMIT {number}
        ) s JOIN recordings r USING (source_id) ORDER BY r.uri, s.start_sample, s.segment_id
        """,
    )


def read_first_and_last_uri(connection: duckdb.DuckDBPyConnection) -> tuple[str, str]:
    row = sql_row(
        connection,
        "SELECT coalesce(min(uri), '') AS first, coalesce(max(uri), '') AS last FROM recordings",
    )
    return row["first"], row["last"]
