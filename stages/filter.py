"""Keeps the segments whose measurements satisfy every rule of the spec.

A rule that fails says so in the row: `reason`, the figure and the limit. Nothing is measured here.
"""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field

from schemas.errors import SpecError
from schemas.segments import SEGMENTS
from schemas.spans import SegmentSpan
from schemas.verdict import Drop, Keep, Verdict
from stages.base import Segment, SegmentStage, StageSpec

_TYPES = {column.name: column.type for column in SEGMENTS.columns}

_CARRIED: Mapping[str, Callable[[Segment], object]] = {
    "segment_id": lambda segment: segment.segment_id,
    "start_sample": lambda segment: segment.start_sample,
    "end_sample": lambda segment: segment.end_sample,
    "speaker": lambda segment: segment.speaker,
    "sample_rate_hz": lambda segment: segment.sample_rate_hz,
    "duration_s": lambda segment: segment.duration_s,
    "overlap_s": lambda segment: _overlap_s(segment),
}
"""Columns that every segment carries itself: no stage has to write them first."""


class FilterRule(StageSpec):
    """What one column has to satisfy; all the limits that are given must hold."""

    column: str = Field(min_length=1)
    """A column of `segments`."""
    min: float | None = None
    """The least value that is kept, in the unit of the column."""
    max: float | None = None
    """The greatest value that is kept, in the unit of the column."""
    one_of: list[str] | None = Field(default=None, min_length=1)
    """The texts that are kept."""
    none_of: list[str] | None = Field(default=None, min_length=1)
    """Texts that are not kept; for a list column, entries that it must not have."""
    allow_null: bool = True
    """Keeps a segment whose column is null: what could not be measured speaks against nobody."""
    reason: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9_]{0,79}$")
    """Word for the table; null: the column and the limit, for example `snr_db_below_min`."""


class FilterSpec(StageSpec):
    rules: list[FilterRule] = Field(min_length=1)
    """Tried in order; the first that fails names the reason."""


class ThresholdFilter(SegmentStage):
    """Drops the segments that fail a rule, with the rule's reason, the figure and the limit.

    NaN counts as null. `measured` and `limit` stay empty where the column is text or a list.
    Raises `SpecError` for a rule that its column cannot answer.
    """

    name: ClassVar[str] = "filter"
    engine: ClassVar[str] = "thresholds"
    Spec: ClassVar[type[StageSpec]] = FilterSpec
    reads: ClassVar[frozenset[str]] = frozenset()
    writes: ClassVar[frozenset[str]] = frozenset()
    speed_x_real_time: ClassVar[float] = 250_000.0

    def __init__(self, spec: FilterSpec) -> None:
        super().__init__(spec)
        for number, rule in enumerate(spec.rules, start=1):
            _check(number, rule)
        self.rules = tuple(spec.rules)
        # What a filter reads depends on its rules, so the instance speaks and not the class.
        self.reads = frozenset(  # type: ignore[misc]
            rule.column for rule in spec.rules if rule.column not in _CARRIED
        )

    def describe(self) -> str:
        return "thresholds 1"

    def process(self, batch: Sequence[Segment]) -> list[Verdict]:
        return [self._judge(segment) for segment in batch]

    def _judge(self, segment: Segment) -> Verdict:
        for rule in self.rules:
            carried = _CARRIED.get(rule.column)
            value = carried(segment) if carried else segment.values[rule.column]
            drop = apply_rule(rule, value)
            if drop is not None:
                return drop
        return Keep()


def apply_rule(rule: FilterRule, value: Any) -> Drop | None:
    """Why the rule does not hold for a value of its column; None where it holds."""

    def drop(what: str, measured: float | None = None, limit: float | None = None) -> Drop:
        return Drop(rule.reason or f"{rule.column}_{what}", measured, limit)

    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None if rule.allow_null else drop("null")
    if rule.min is not None and value < rule.min:
        return drop("below_min", float(value), rule.min)
    if rule.max is not None and value > rule.max:
        return drop("above_max", float(value), rule.max)
    if rule.one_of is not None and value not in rule.one_of:
        return drop("not_allowed")
    if rule.none_of is not None:
        entries = [value] if isinstance(value, str) else value
        if any(entry in rule.none_of for entry in entries):
            return drop("excluded")
    return None


def _check(number: int, rule: FilterRule) -> None:
    """Raises `SpecError` unless the rule can be asked of its column."""
    where = f"rules, rule {number}"
    if rule.column not in _TYPES:
        close = difflib.get_close_matches(rule.column, _TYPES, n=1)
        raise SpecError(
            f"{where}: found column {rule.column!r}, wanted a column of 'segments'"
            f"{f'; did you mean {close[0]!r}?' if close else ' (see schemas/segments.py)'}"
        )
    kind, allowed = _kind(_TYPES[rule.column])
    given = {
        limit for limit in ("min", "max", "one_of", "none_of") if getattr(rule, limit) is not None
    }
    if not allowed:
        raise SpecError(
            f"{where}: found column {rule.column!r}, which holds {kind}; "
            "wanted a column of numbers, texts or lists of texts"
        )
    if given - allowed:
        raise SpecError(
            f"{where}: found {', '.join(sorted(given - allowed))} on column {rule.column!r}, which "
            f"holds {kind}; wanted {' or '.join(sorted(allowed))}"
        )
    if not given and rule.allow_null:
        raise SpecError(
            f"{where}: found no limit on column {rule.column!r}; wanted at least one of "
            f"{', '.join(sorted(allowed))}, or allow_null: false"
        )
    if rule.min is not None and rule.max is not None and rule.min > rule.max:
        raise SpecError(
            f"{where}: found min {rule.min} above max {rule.max} on column {rule.column!r}, "
            "which no segment satisfies; wanted min <= max"
        )


def _kind(kind: pa.DataType) -> tuple[str, set[str]]:
    """What a column holds, in words, and the limits that can be set on it."""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return "numbers", {"min", "max"}
    if pa.types.is_string(kind):
        return "text", {"one_of", "none_of"}
    if pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
        return "lists of texts", {"none_of"}
    return str(kind), set()


def _overlap_s(segment: Segment) -> float | None:
    """Overlap as the segmenter cut it; it stands with the span, not among the measured columns."""
    spans: Sequence[SegmentSpan] = segment.recording.values.get("spans", ())
    key = (segment.start_sample, segment.end_sample, segment.speaker)
    for span in spans:
        if (span.start_sample, span.end_sample, span.speaker) == key:
            return span.overlap_s
    return None
