"""Stops a job whose failures are ours, and marks no input as failed for them.

A missing model, a broken driver library or a lost mount fails every input in the same way. Of the
last N inputs that came to an end nine in ten failing with one class in one stage, of the classes
that speak of us and not of the audio, stop the job. A folder of nothing but bad audio fails too,
but with classes of its own (`NOT_AUDIO` and its like), and runs to its end.

Until it is known which it was, nobody is blamed: units that hold such a failure are not committed
before N further inputs have ended or the sweep is over. When the job stops they are left pending,
so the next run tries them again.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.errors import JobStoppedError

OURS = frozenset(
    {"UNEXPECTED", "CRASH", "TIMEOUT", "OOM_ITEM", "ENGINE_ERROR", "ENDPOINT_ERROR", "UNREADABLE"}
)
"""Classes of `schemas/failures.py` that a fault of the installation gives as well as an input."""
NEARLY_ALL = 0.9
_MESSAGE_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Blame:
    """Why an input failed."""

    source_id: str
    stage: str
    error_class: str
    message: str

    @property
    def may_be_ours(self) -> bool:
        return self.error_class in OURS


Ended = tuple[Blame | None, ...]
"""Inputs that ended, in order: why each failed, or None for those that did not."""


class Breaker:
    """Looks at the inputs of a sweep as they end, and lets units be committed."""

    def __init__(self, last: int | None) -> None:
        """`last`: how many inputs are looked at; None: the breaker never trips."""
        self._last = last
        self._window: deque[Blame | None] = deque(maxlen=last)
        self._num_seen = 0
        self._held: deque[tuple[int, Callable[[], None]]] = deque()

    def see(self, ended: Ended) -> None:
        """Inputs ended. Raises `JobStoppedError` when nearly all of the last failed through us."""
        for blame in ended:
            self._window.append(blame if blame and blame.may_be_ours else None)
            self._num_seen += 1
            if self._window[-1]:
                self._check(self._window[-1])

    def commit(self, ended: Ended, commit: Callable[[], None]) -> None:
        """Calls `commit` of a unit that was seen: now, later, or never if the job stops."""
        if self._last and any(blame and blame.may_be_ours for blame in ended):
            self._held.append((self._num_seen, commit))
        else:
            commit()
        while self._held and self._last and self._num_seen - self._held[0][0] >= self._last:
            self._held.popleft()[1]()

    def close(self) -> None:
        """The sweep is over and the job was not stopped: what was held back is committed."""
        while self._held:
            self._held.popleft()[1]()

    def _check(self, newest: Blame) -> None:
        if self._last is None or len(self._window) < self._last:
            return
        same = [
            blame
            for blame in self._window
            if blame and (blame.stage, blame.error_class) == (newest.stage, newest.error_class)
        ]
        if len(same) >= NEARLY_ALL * self._last:
            first = same[0]
            raise JobStoppedError(
                f"{len(same)} of the last {self._last} inputs failed with {first.error_class} in "
                f"stage {first.stage!r}, so the fault is here and not in the audio. The first: "
                f"{first.message[:_MESSAGE_CHARACTERS]!r}. None of them was marked as failed; mend "
                "it ('audiomill doctor' tests what is installed) and run the same command again. "
                "If they are to be failed all the same: run.breaker_inputs=null"
            )


def blames_of(rows: Mapping[str, Sequence[Mapping[str, Any]]], num_inputs: int) -> Ended:
    """Of all inputs of a unit, from the rows of those that ended.

    An input none of whose segments was kept because they failed counts as failed here, though its
    row says `done`: what is broken then is an engine that works on segments.
    """
    of_input: dict[str, list[Blame]] = {}
    for row in rows["failures"]:
        blame = Blame(row["source_id"], row["stage"], row["error_class"], row["message"])
        of_input.setdefault(row["source_id"], []).append(blame)
    blames = []
    for row in rows["recordings"]:
        found = of_input.get(row["source_id"], [])
        wholly = row["outcome"] == "failed" or not row["num_segments_kept"]
        blames.append(_most_frequent(found) if found and wholly else None)
    return (*blames, *[None] * (num_inputs - len(blames)))


def _most_frequent(blames: Sequence[Blame]) -> Blame:
    """The first of the most frequent stage and class."""
    (most, _), *_ = Counter((blame.stage, blame.error_class) for blame in blames).most_common(1)
    return next(blame for blame in blames if (blame.stage, blame.error_class) == most)
