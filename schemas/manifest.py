"""The tables that make up a manifest, by name."""

from schemas.column import Table
from schemas.failures import FAILURES
from schemas.recordings import RECORDINGS
from schemas.runs import RUNS
from schemas.segments import SEGMENTS
from schemas.shards import SHARDS
from schemas.sketches import SKETCHES
from schemas.tokens import TOKENS
from schemas.tombstones import TOMBSTONES
from schemas.turns import TURNS

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        *(RECORDINGS, SEGMENTS, TURNS, FAILURES, SKETCHES),
        *(TOKENS, SHARDS, RUNS, TOMBSTONES),
    )
}
