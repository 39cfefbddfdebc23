"""Between processes and the store: carries requests out, or late, or twice, or not at all."""

from collections import Counter
from random import Random
from typing import Final

from benchmarks.simulation.faults import Faults
from benchmarks.simulation.request import (
    Answer,
    Append,
    Delete,
    Effect,
    Later,
    ListFiles,
    Publish,
    Put,
    Refresh,
    Request,
    Sleep,
)
from benchmarks.simulation.simulated_store import Truth, View
from pipeline.store import UnknownOutcomeError
from schemas.errors import StorageError

MAX_LAG = 6
"""Names that a listing may be wrong about, of either kind."""
_FATES_OF_READS: Final = ("crash_before", "refused", "log_lag", "list_lag")
_FATES_OF_EFFECTS: Final = (
    *("crash_before", "crash_after", "crash_in_flight", "refused"),
    *("reply_lost", "late", "repeated", "repeated_late"),
)


class Network:
    """Gives each request its fate; keeps those that will be carried out later."""

    def __init__(self, truth: Truth, faults: Faults, rng: Random, events: Counter[str]) -> None:
        self.in_flight: list[Effect] = []
        self.faults: Faults | None = faults
        """None when faults are over."""
        self._truth = truth
        self._rng = rng
        self._events = events

    def fate(self, request: Request) -> str:
        """A field of `Faults`, or "done"."""
        if self.faults is None:
            return "done"
        read = isinstance(request, Refresh | ListFiles | Sleep | Later)
        for name in _FATES_OF_READS if read else _FATES_OF_EFFECTS:
            rate = getattr(self.faults, name)
            if rate and self._rng.random() < rate:
                self._events[name] += 1
                return name
        return "done"

    def carry_out(self, request: Request, fate: str, view: View) -> Answer:
        """Returns the reply, or raises `StorageError` for the process that asked."""
        match request:
            case Refresh():
                return self._refresh(fate, view)
            case ListFiles():
                return self._list(fate)
            case Sleep():
                return None
            case Later():
                self.in_flight.append(request.effect)
                return None
        return self._change(request, fate)

    def settle_one(self) -> tuple[Effect, object]:
        """A request that nobody waits for any more is carried out, or lost for good.

        Returns the request and what became of it.
        """
        effect = self.in_flight.pop(self._rng.randrange(len(self.in_flight)))
        if self._rng.random() < 0.3:
            return effect, "lost"
        self._events["carried out late"] += 1
        try:
            return effect, effect.apply(self._truth)
        except StorageError as error:
            return effect, str(error)

    def _refresh(self, fate: str, view: View) -> int:
        if fate == "refused":
            raise StorageError("the log cannot be read")
        to = len(self._truth.log)
        if fate == "log_lag":
            to = self._rng.randint(view.seen, to)
        return view.advance(to)

    def _list(self, fate: str) -> list[str]:
        if fate == "refused":
            raise StorageError("the files cannot be listed")
        names = set(self._truth.files)
        if fate == "list_lag":
            coin = self._rng.random
            names -= {name for name in self._truth.appeared[-MAX_LAG:] if coin() < 0.5}
            names |= {name for name in self._truth.vanished[-MAX_LAG:] if coin() < 0.5}
        return sorted(names)

    def _change(self, request: Append | Put | Publish | Delete, fate: str) -> Answer:
        match fate:
            case "crash_before":
                return None
            case "refused":
                if isinstance(request, Put) and request.name.endswith(".part"):
                    self._truth.put(request.name, None)
                raise StorageError("no space left on device")
            case "crash_in_flight":
                self.in_flight.append(request)
                return None
            case "late":
                self.in_flight.append(request)
                raise self._no_answer(request)
        answer = request.apply(self._truth)
        match fate:
            case "reply_lost":
                raise self._no_answer(request)
            case "repeated":
                return request.apply(self._truth)
            case "repeated_late":
                self.in_flight.append(request)
        return answer

    def _no_answer(self, request: Request) -> StorageError:
        if isinstance(request, Append):
            self._events["append unanswered"] += 1
            # A store may fail to see that it cannot tell.
            if self._rng.random() < 0.8:
                return UnknownOutcomeError("no answer")
        return StorageError("no answer")
