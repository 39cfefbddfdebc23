"""The outcomes a stage may give an item. A failure is neither of these: it is raised."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Keep:
    """The item goes on, with what the stage measured: column or working-value name to value."""

    values: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Drop:
    """The item goes no further, for a named reason, with the figure that decided it.

    `measured` and `limit` are in the unit of the column that the reason speaks of.
    """

    reason: str
    measured: float | None = None
    limit: float | None = None
    values: Mapping[str, object] = field(default_factory=dict)


Verdict = Keep | Drop
