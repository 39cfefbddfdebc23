"""Starts of workers that something outside ended: counted, and made up for after a wait.

The memory of a machine that ran out, or a node that was taken away, ends a worker in the middle of
its start and comes to rest in minutes, not in seconds. So each round waits longer than the one
before, and workers of a pool that were lost together are one round, however many there are.
"""

import time
from collections import defaultdict
from dataclasses import dataclass, field

from pipeline.fit import Kind, Pool
from schemas.errors import PlanError

MOST_ROUNDS = 10
"""Rounds in a row in which no worker of the pool came up or was up; they wait for two and a half
minutes at least."""
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0


@dataclass(slots=True)
class _Rounds:
    """Of one pool, since a worker of it came up."""

    alone: int = 0
    """In a row, while no other worker was up."""
    wait_s: float = 0.0
    last: float = 0.0
    """When the latest began (`time.monotonic()`)."""


@dataclass(slots=True)
class LostStarts:
    """Rounds of lost starts, pool by pool, and the workers that are to start again."""

    _rounds: dict[Kind, _Rounds] = field(default_factory=lambda: defaultdict(_Rounds))
    _due: list[tuple[float, Pool]] = field(default_factory=list)

    def lost(self, pool: Pool, since: float, cause: str, others_work: bool) -> float:
        """A start, begun at `since` (`time.monotonic()`), was lost; the seconds until another.

        Raises `PlanError` with the cause after the last round. While others of the pool work there
        is no last round.
        """
        rounds = self._rounds[pool.kind]
        if since >= rounds.last:
            rounds.alone = 0 if others_work else rounds.alone + 1
            rounds.wait_s = min(LONGEST_WAIT_S, 2.0 * rounds.wait_s or FIRST_WAIT_S)
            rounds.last = time.monotonic()
        if rounds.alone >= MOST_ROUNDS:
            raise PlanError(
                f"a {pool.kind} worker cannot be started: something outside ended it "
                f"{rounds.alone} times in a row ({cause}); is this machine out of memory? ('dmesg' "
                "shows what the system killed, 'ray status' which nodes are alive)"
            )
        self._due.append((rounds.last + rounds.wait_s, pool))
        return rounds.wait_s

    def has_come_up(self, kind: Kind) -> None:
        """A worker of that pool did start."""
        self._rounds.pop(kind, None)

    def waits(self, kind: Kind | None = None) -> bool:
        """Whether a worker, or one of that kind, is to start again."""
        return any(kind in (None, pool.kind) for _, pool in self._due)

    def due(self) -> list[Pool]:
        """The pools in which a worker is to start now; each is told once."""
        now = time.monotonic()
        ready = [pool for at, pool in self._due if at <= now]
        self._due = [entry for entry in self._due if entry[0] > now]
        return ready
