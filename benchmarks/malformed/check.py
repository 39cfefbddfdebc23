"""Holds what became of inputs against what must become of them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.malformed.kind import Kind, Outcome

Row = Mapping[str, Any]


def disagreement(kind: Kind, found: Outcome) -> str | None:
    """A sentence that says what is wrong with an outcome; None if it is as expected."""
    expected = kind.expected
    if found.error_class is not None:
        agrees = found.error_class in expected.classes
    elif found.flags is None:
        agrees = expected.unlisted
    else:
        agrees = (
            expected.kept
            and expected.flags <= found.flags <= expected.flags | expected.may_flag
            and (bool(found.flags) or not expected.some_flag)
            and _within(found.seconds, expected.seconds)
        )
    return None if agrees else f"{kind.name}: {found}; wanted {_wanted(kind)}"


def check_rows(
    recordings: Iterable[Row], failures: Iterable[Row], kinds: Iterable[Kind]
) -> list[str]:
    """Disagreements of a whole run: one input, one row, one outcome, the expected one.

    Rows of the tables `recordings` and `failures`; files of other names are left alone. A rejected
    input counts as kept here: a stage behind the decoder judged what it kept. Bare references
    (`kind.uri`) are no files and are passed over. The job must run without `duplicates`: one voice
    speaks in most kinds, and the row of a repeat does not say how it was decoded.
    """
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in recordings:
        rows[_tail(row["uri"])].append(row)
    causes: dict[str, list[Row]] = defaultdict(list)
    for row in failures:
        if row["segment_id"] is None:
            causes[_tail(row["uri"])].append(row)
    found = []
    for kind in kinds:
        if kind.uri is not None:
            continue
        here, why = rows.pop(kind.shown_path, []), causes.pop(kind.shown_path, [])
        found += [f"{kind.name}: {problem}" for problem in _accounting(here, why)]
        sentence = disagreement(kind, _outcome(here, why))
        found += [sentence] if sentence else []
    return found


def _tail(uri: str) -> str:
    """Folder and name, by which a kind is known."""
    return "/".join(uri.rsplit("/", 2)[-2:])


def _accounting(rows: list[Row], causes: list[Row]) -> list[str]:
    if len(rows) > 1 or len(causes) > 1:
        return [f"{len(rows)} rows and {len(causes)} failures for one input"]
    failed = bool(rows) and rows[0]["outcome"] == "failed"
    if failed != bool(causes):
        return [f"outcome {rows[0]['outcome'] if rows else None} with {len(causes)} failures"]
    if rows and not failed and rows[0].get("decode_flags") is None:
        return ["its row says nothing of decode_flags"]
    return []


def _outcome(rows: list[Row], causes: list[Row]) -> Outcome:
    if causes:
        return Outcome(error_class=causes[0]["error_class"])
    if not rows:
        return Outcome()
    flags = frozenset(rows[0].get("decode_flags") or [])
    return Outcome(flags=flags, seconds=rows[0].get("decoded_s"))


def _within(seconds: float | None, limits: tuple[float, float] | None) -> bool:
    return limits is None or seconds is None or limits[0] <= seconds <= limits[1]


def _wanted(kind: Kind) -> str:
    expected, ways = kind.expected, []
    if expected.kept:
        way = f"kept with {', '.join(sorted(expected.flags)) or 'no flag'}"
        if expected.some_flag:
            way = f"kept with one of {', '.join(sorted(expected.may_flag))} at least"
        elif expected.may_flag:
            way += f" (or {', '.join(sorted(expected.may_flag))} too)"
        if expected.seconds:
            way += ", {:.2f} to {:.2f} s".format(*expected.seconds)
        ways.append(way)
    if expected.classes:
        ways.append(f"failed with {' or '.join(sorted(expected.classes))}")
    if expected.unlisted:
        ways.append("not listed")
    return ", or ".join(ways)
