"""What has to hold between the committed tables, as SQL that finds the rows which break it.

Views: every table of the manifest; `inputs` as listed when the job began; `shard_rows`, what the
shard files themselves hold.
"""

from dataclasses import dataclass

import duckdb

from schemas.failures import UNCODED

NAMED_AT_MOST = 3
"""Ids given as examples where a rule is broken."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A query for the ids of offenders; there are none where all is well."""

    table: str
    broken: str
    sql: str


def _twice(table: str, *key: str) -> Rule:
    columns = ", ".join(key)
    sql = f"SELECT concat_ws(' ', {columns}) FROM {table} GROUP BY {columns} HAVING count(*) > 1"
    return Rule(table, f"the same {' and '.join(key)} twice", sql)


def _nowhere(table: str, key: str, other: str, using: str, what: str) -> Rule:
    return Rule(table, what, f"SELECT {key} FROM {table} ANTI JOIN {other} USING ({using})")


def _not_both(table: str, key: str, one: str, other: str, what: str) -> Rule:
    sql = f"(({one}) EXCEPT ALL ({other})) UNION ALL (({other}) EXCEPT ALL ({one}))"
    return Rule(table, what, f"SELECT {key} FROM ({sql})")


RULES = (
    _twice("recordings", "source_id"),
    _twice("segments", "segment_id"),
    _twice("turns", "source_id", "turn_index"),
    _twice("sketches", "source_id"),
    _twice("tokens", "segment_id"),
    _twice("tokens", "shard", "shard_row"),
    _twice("shards", "shard"),
    _twice("runs", "run_id"),
    _twice("tombstones", "source_id"),
    _nowhere(
        *("recordings", "source_id", "inputs", "source_id, uri, size_bytes, etag"),
        "of no input that was listed",
    ),
    _nowhere("sketches", "source_id", "inputs", "source_id", "of no input that was listed"),
    _nowhere("tombstones", "source_id", "inputs", "source_id", "of no input that was listed"),
    *(
        Rule(
            table,
            "of an input that was forgotten",
            f"SELECT source_id FROM {table} SEMI JOIN tombstones USING (source_id)",
        )
        for table in ("recordings", "segments", "turns", "failures", "sketches")
    ),
    Rule(
        "recordings",
        "with an outcome that is none",
        "SELECT source_id FROM recordings WHERE outcome NOT IN ('done', 'rejected', 'failed')",
    ),
    Rule(
        "recordings",
        "that repeat no recording",
        "SELECT source_id FROM recordings WHERE duplicate_of IS NOT NULL "
        "AND duplicate_of NOT IN (SELECT source_id FROM inputs)",
    ),
    _not_both(
        *("recordings", "source_id"),
        "SELECT source_id FROM recordings WHERE outcome = 'failed'",
        "SELECT source_id FROM failures WHERE segment_id IS NULL",
        "failed without one cause, or not failed and with one",
    ),
    _not_both(
        *("segments", "segment_id"),
        "SELECT segment_id FROM segments WHERE verdict = 'failed'",
        f"SELECT segment_id FROM failures WHERE segment_id IS NOT NULL AND stage <> '{UNCODED}'",
        "failed without one cause, or not failed and with one",
    ),
    _not_both(
        *("failures", "segment_id"),
        f"SELECT segment_id FROM failures WHERE stage = '{UNCODED}'",
        "SELECT segment_id FROM failures SEMI JOIN (SELECT segment_id FROM segments "
        "WHERE verdict = 'kept') USING (segment_id) ANTI JOIN tokens USING (segment_id) "
        f"WHERE stage = '{UNCODED}'",
        "without codes and not kept, or with codes as well",
    ),
    _nowhere(
        *("segments", "segment_id", "recordings", "source_id, recording_id"), "of no recording"
    ),
    _nowhere("turns", "source_id", "recordings", "source_id, recording_id", "of no recording"),
    Rule(
        "recordings",
        "with other segments than they count",
        "SELECT source_id FROM recordings LEFT JOIN (SELECT source_id, count(*) AS n, "
        "count(*) FILTER (verdict = 'kept') AS k FROM segments GROUP BY 1) USING (source_id) "
        "WHERE outcome <> 'failed' AND (coalesce(num_segments, 0) <> coalesce(n, 0) "
        "OR coalesce(num_segments_kept, 0) <> coalesce(k, 0))",
    ),
    _nowhere(
        *("tokens", "segment_id"),
        "(SELECT segment_id, recording_id FROM segments WHERE verdict = 'kept')",
        "segment_id, recording_id",
        "of no kept segment",
    ),
    _not_both(
        *("tokens", "segment_id"),
        "SELECT segment_id, recording_id, shard, shard_row, num_frames FROM tokens",
        "SELECT segment_id, recording_id, shard, shard_row, num_frames FROM shard_rows",
        "that disagree with the shards' own rows",
    ),
    _not_both(
        *("shards", "shard"),
        "SELECT shard, file, num_rows, num_frames, tokenizer, sha256 FROM shards",
        "SELECT shard, file, count(*), sum(num_frames)::BIGINT, tokenizer, sha256 "
        "FROM shard_rows GROUP BY ALL",
        "that disagree with the shards' own rows",
    ),
)

_ACCOUNTS = f"""
SELECT (SELECT count(*) FROM inputs) AS inputs,
    (SELECT count(*) FROM recordings WHERE outcome = 'done') AS done,
    (SELECT count(*) FROM recordings WHERE outcome = 'rejected') AS rejected,
    (SELECT count(*) FROM recordings WHERE outcome = 'failed') AS failed,
    (SELECT count(*) FROM tombstones) AS forgotten,
    (SELECT count(*) FROM inputs ANTI JOIN recordings USING (source_id)
        ANTI JOIN tombstones USING (source_id)) AS pending,
    (SELECT count(*) FROM segments) AS segments,
    (SELECT count(*) FROM segments WHERE verdict = 'kept') AS kept,
    (SELECT count(*) FROM tokens) AS tokens,
    (SELECT count(*) FROM failures WHERE stage = '{UNCODED}') AS uncoded,
    (SELECT count(*) FROM shards) AS shards
"""


def accounts_of(db: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """How many inputs came to which end, and how many rows there are."""
    found = db.execute(_ACCOUNTS)
    names = [column[0] for column in found.description or []]
    return dict(zip(names, found.fetchone() or (), strict=True))


def broken_rules(db: duckdb.DuckDBPyConnection) -> list[str]:
    """A line for every rule that does not hold, with examples."""
    problems = []
    for rule in RULES:
        ids = [str(row[0]) for row in db.execute(rule.sql).fetchall()]
        if ids:
            named = ", ".join(sorted(ids)[:NAMED_AT_MOST])
            problems.append(f"table {rule.table}: {len(ids)} {rule.broken} ({named})")
    return problems
