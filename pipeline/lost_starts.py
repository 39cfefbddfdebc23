"""Starts of workers that something outside ended: counted, and made up for after a wait.

The memory of a machine that ran out, or a node that was taken away, ends a worker in the middle of
its start and comes to rest in minutes, not in seconds. So each round waits longer than the one
before, and workers that were lost together are one round, however many there are.
"""

import time
from dataclasses import dataclass, field

from pipeline.fit import Kind, Pool
from schemas.errors import PlanError

MOST_ROUNDS = 10
"""Rounds in a row without a worker that came up; their waits are two and a half minutes."""
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0


@dataclass(slots=True)
class LostStarts:
    """Rounds of lost starts since a worker came up, and the workers that are to start again."""

    rounds: int = 0
    _last: float = 0.0
    _due: list[tuple[float, Pool]] = field(default_factory=list)

    def lost(self, pool: Pool, since: float, cause: str) -> float:
        """A start, begun at `since` (`time.monotonic()`), was lost; the seconds until another.

        Raises `PlanError` with the cause after the last round.
        """
        if since >= self._last:
            self.rounds += 1
            self._last = time.monotonic()
        if self.rounds >= MOST_ROUNDS:
            raise PlanError(
                f"a {pool.kind} worker cannot be started: something outside ended it "
                f"{self.rounds} times in a row ({cause}); is this machine out of memory? ('dmesg' "
                "shows what the system killed, 'ray status' which nodes are alive)"
            )
        wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** (self.rounds - 1))
        self._due.append((self._last + wait_s, pool))
        return wait_s

    def has_come_up(self) -> None:
        """A worker did start."""
        self.rounds = 0

    def waits(self, kind: Kind | None = None) -> bool:
        """Whether a worker, or one of that kind, is to start again."""
        return any(kind in (None, pool.kind) for _, pool in self._due)

    def due(self) -> list[Pool]:
        """The pools in which a worker is to start now; each is told once."""
        now = time.monotonic()
        ready = [pool for at, pool in self._due if at <= now]
        self._due = [entry for entry in self._due if entry[0] > now]
        return ready
