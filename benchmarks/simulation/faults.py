"""Which faults a schedule has and how often: drawn anew for each, so that every mix occurs."""

from dataclasses import dataclass, fields
from random import Random

RATES = (0.0, 0.0, 0.02, 0.08, 0.25)
"""Half of the faults are absent: a rare fault shows what it does when others do not mask it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Faults:
    """Shares of the requests that meet a fault."""

    crash_before: float = 0.0
    """The process dies, and the request was never sent."""
    crash_after: float = 0.0
    """The request is carried out, and the process dies before the reply."""
    crash_in_flight: float = 0.0
    """The process dies, and the request is carried out some time later, or never."""
    refused: float = 0.0
    """Disk full, input or output error: nothing is carried out; a write may break off."""
    reply_lost: float = 0.0
    """The request is carried out, and nobody says so."""
    late: float = 0.0
    """Nobody answers, and the request is carried out some time later, or never."""
    repeated: float = 0.0
    """The request is carried out twice, at once: the reply is the second one's."""
    repeated_late: float = 0.0
    """The request is carried out, answered, and some time later carried out again."""
    log_lag: float = 0.0
    """A refresh does not see the latest entries."""
    list_lag: float = 0.0
    """A listing misses new files and names deleted ones."""


def draw_faults(rng: Random) -> Faults:
    """A mix of faults."""
    return Faults(**{field.name: rng.choice(RATES) for field in fields(Faults)})
