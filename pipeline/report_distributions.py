"""How the measurements of a job are spread over its segments, counted where the rows are."""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from pipeline.chart import Histogram
from pipeline.sql_rows import sql_row
from schemas.errors import OutputError
from schemas.segments import SEGMENTS

NUM_BINS = 30


@dataclass(frozen=True, slots=True)
class Measure:
    """A column of `segments` worth a histogram; `scale` where the column has a fixed one."""

    column: str
    title: str
    unit: str = ""
    scale: tuple[float, float] | None = None


MEASURES = (
    Measure("duration_s", "Duration", "s"),
    Measure("snr_db", "Signal to noise", "dB"),
    Measure("bandwidth_hz", "Bandwidth", "Hz"),
    Measure("segment_lufs", "Loudness", "LUFS"),
    Measure("dnsmos_ovrl", "DNSMOS overall", "", (1, 5)),
    Measure("asr_confidence", "Recognition confidence", "", (0, 1)),
    Measure("words_per_s", "Words per second", "1/s"),
    Measure("conversational_quality", "Conversational quality", "", (0, 5)),
    Measure("knowledge_density", "Knowledge density", "", (0, 5)),
    Measure("logical_reasoning", "Logical reasoning", "", (0, 5)),
)


@dataclass(frozen=True, slots=True)
class Distribution:
    """How a measure is spread over the segments that have it."""

    measure: Measure
    histogram: Histogram
    num_kept: int
    num_rest: int
    rest_median: float | None


def read_distributions(
    connection: duckdb.DuckDBPyConnection, measures: Sequence[Measure] = MEASURES
) -> list[Distribution]:
    """Histograms of the measures that any segment has, computed where the rows are."""
    found = (_distribution(connection, measure) for measure in measures)
    return [distribution for distribution in found if distribution is not None]


def _distribution(connection: duckdb.DuckDBPyConnection, measure: Measure) -> Distribution | None:
    if measure.column not in SEGMENTS.column_names:
        raise OutputError(f"segments has no column {measure.column!r}; see schemas/segments.py")
    values = (
        f"SELECT {measure.column} AS value, verdict = 'kept' AS kept FROM segments "
        f"WHERE isfinite({measure.column})"
    )
    row = sql_row(
        connection,
        f"""
        SELECT count(*) FILTER (kept) AS num_kept, count(*) FILTER (NOT kept) AS num_rest,
               median(value) FILTER (kept) AS kept_median,
               median(value) FILTER (NOT kept) AS rest_median,
               quantile_cont(value, 0.005) AS low, quantile_cont(value, 0.995) AS high
        FROM ({values})
        """,
    )
    if not row["num_kept"] + row["num_rest"]:
        return None
    low, high = measure.scale or (row["low"], row["high"])
    if high <= low:  # all values are equal: a bin around them
        low, high = low - 0.5, high + 0.5
    counts: dict[bool, list[int]] = {True: [0] * NUM_BINS, False: [0] * NUM_BINS}
    for kept, index, count in connection.execute(
        f"""
        SELECT kept, greatest(0, least(?, floor((value - ?) / (? - ?) * ?)))::INTEGER, count(*)
        FROM ({values}) GROUP BY ALL
        """,
        [NUM_BINS - 1, low, high, low, NUM_BINS],
    ).fetchall():
        counts[kept][index] = count
    histogram = Histogram(low, high, counts[True], counts[False], row["kept_median"])
    return Distribution(measure, histogram, row["num_kept"], row["num_rest"], row["rest_median"])
