"""The set check: rows of an output against those of a run that nobody disturbed."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.manifest import TABLES

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Rows that are not as they should be, over all tables."""

    lost: int = 0
    """Keys that are missing."""
    duplicated: int = 0
    """Rows more than there should be of a key."""
    phantom: int = 0
    """Keys that should not be there."""
    changed: int = 0
    """Keys whose rows say something else."""

    def __add__(self, other: "Difference") -> "Difference":
        return Difference(
            lost=self.lost + other.lost,
            duplicated=self.duplicated + other.duplicated,
            phantom=self.phantom + other.phantom,
            changed=self.changed + other.changed,
        )

    def __bool__(self) -> bool:
        return any((self.lost, self.duplicated, self.phantom, self.changed))

    def __str__(self) -> str:
        return ", ".join(f"{number} {name}" for name, number in self.to_json().items() if number)

    def to_json(self) -> dict[str, int]:
        return {
            "lost": self.lost,
            "duplicated": self.duplicated,
            "phantom": self.phantom,
            "changed": self.changed,
        }


def difference(wanted: Mapping[str, Rows], found: Mapping[str, Rows]) -> Difference:
    """How the tables of `found` differ from `wanted`, by the keys of `schemas/`."""
    total = Difference()
    for name, rows in wanted.items():
        total += _of_table(TABLES[name].key, rows, found[name])
    return total


def _of_table(key: Sequence[str], wanted: Rows, found: Rows) -> Difference:
    want, have = _by_key(key, wanted), _by_key(key, found)
    return Difference(
        lost=len(want.keys() - have.keys()),
        duplicated=sum(max(0, len(rows) - len(want.get(k, rows[:1]))) for k, rows in have.items()),
        phantom=len(have.keys() - want.keys()),
        changed=sum(bool(Counter(want[k]) - Counter(have[k])) for k in want.keys() & have.keys()),
    )


def _by_key(key: Sequence[str], rows: Rows) -> dict[tuple[Any, ...], list[str]]:
    grouped: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for row in rows:
        grouped[tuple(row[column] for column in key)].append(str(sorted(row.items())))
    return grouped
