"""Runs plain functions over a `Store` one request at a time, so that others can act in between.

The function is called with the answers given so far; at the first request without an answer it is
left, and once there is an answer it is called again from its beginning. It takes the same way, for
it depends on nothing but its arguments and the answers: so the real code takes part in a schedule,
without threads, the same every time.
"""

from collections.abc import Callable, Collection, Generator, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from benchmarks.simulation.request import (
    Answer,
    Append,
    Delete,
    ListFiles,
    Refresh,
    Request,
)
from benchmarks.simulation.simulated_store import Entry, View
from pipeline.store import DataFile, Store
from schemas.errors import StorageError

P = ParamSpec("P")
T = TypeVar("T")

Steps = Generator[Request, Answer, T]
"""Yields requests, is sent or thrown what becomes of them, returns a T."""


class _UnansweredError(BaseException):
    """No `Exception`, so that no handler in the code under test takes it for a fault."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self.request = request


class _AnsweredStore:
    """A `Store` that gives recorded answers, and leaves its caller where they end."""

    def __init__(self, view: View, answers: list[Any]) -> None:
        self._view = view
        self._answers = answers
        self._position = 0

    def refresh(self) -> int:
        return self._ask(Refresh())

    def append(self, number: int, unit: str, files: Sequence[DataFile], epoch: int) -> bool:
        return self._ask(Append(number, Entry(unit, tuple(files), epoch)))

    def list_files(self) -> Collection[str]:
        return self._ask(ListFiles())

    def delete(self, name: str) -> None:
        return self._ask(Delete(name))

    def is_committed(self, unit: str) -> bool:
        return self._look(lambda: self._view.is_committed(unit))

    def epoch(self) -> int:
        return self._look(self._view.epoch)

    def committed_files(self) -> Collection[DataFile]:
        return self._look(self._view.committed_files)

    def _ask(self, request: Request) -> Any:
        if self._position == len(self._answers):
            raise _UnansweredError(request)
        return self._next()

    def _look(self, question: Callable[[], T]) -> T:
        # No step, but recorded: the view will have moved on when the function runs again.
        if self._position == len(self._answers):
            self._answers.append(question())
        return self._next()

    def _next(self) -> Any:
        answer = self._answers[self._position]
        self._position += 1
        if isinstance(answer, StorageError):
            raise answer.with_traceback(None)
        return answer


def stepwise(
    function: Callable[Concatenate[Store, P], T], view: View, *args: P.args, **kwargs: P.kwargs
) -> Steps[T]:
    """`function(store, ...)` as steps; `view` is what its process has seen of the log."""
    answers: list[Any] = []
    while True:
        try:
            return function(_AnsweredStore(view, answers), *args, **kwargs)
        except _UnansweredError as unanswered:
            request = unanswered.request
        try:
            answers.append((yield request))
        except StorageError as error:
            answers.append(error)
