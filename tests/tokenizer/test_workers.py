"""`tokenizer/workers.py`: packs side by side, each by one thread alone."""

import threading

import pytest
import torch
from torch import Tensor

from tokenizer.workers import Workers, side_by_side


@pytest.fixture
def two_threads() -> None:
    torch.set_num_threads(2)


def steady() -> Tensor:
    return torch.zeros(1)


def by_thread_count() -> Tensor:
    return torch.tensor([float(torch.get_num_threads())])


@pytest.mark.usefixtures("two_threads")
def test_tasks_run_side_by_side_with_one_thread_each_and_come_back_in_order() -> None:
    meeting = threading.Barrier(2, timeout=30)

    def work(number: int) -> tuple[int, int, bool]:
        meeting.wait()
        return number, torch.get_num_threads(), torch.is_inference_mode_enabled()

    found = side_by_side(work, list(range(4)))
    assert found == [(number, 1, True) for number in range(4)]


@pytest.mark.usefixtures("two_threads")
def test_the_callers_threads_stay_as_they_were() -> None:
    side_by_side(lambda number: number, [1, 2, 3])
    later: list[int] = []
    other = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert torch.get_num_threads() == 2
    assert later == [2]


def test_one_thread_works_alone_where_it_is() -> None:
    here = threading.current_thread()
    found = side_by_side(lambda number: threading.current_thread() is here, [1, 2])
    assert found == [True, True]


@pytest.mark.usefixtures("two_threads")
def test_no_task_needs_no_thread() -> None:
    assert side_by_side(lambda number: number, []) == []


@pytest.mark.usefixtures("two_threads")
def test_threads_that_start_meanwhile_have_the_callers_number() -> None:
    def work(_: int) -> int:
        seen: list[int] = []
        other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        other.start()
        other.join()
        return seen[0]

    assert side_by_side(work, [1, 2])[-1] == 2


@pytest.mark.usefixtures("two_threads")
def test_a_change_of_the_default_does_not_reach_the_workers() -> None:
    changed = threading.Event()
    begun = threading.Event()

    def work(_: int) -> int:
        begun.set()
        assert changed.wait(30)
        torch.ones(100, 100) @ torch.ones(100, 100)
        return torch.get_num_threads()

    found: list[int] = []

    def other_caller() -> None:
        torch.set_num_threads(2)
        found.extend(side_by_side(work, [1, 2]))

    other = threading.Thread(target=other_caller)
    other.start()
    assert begun.wait(30)
    torch.set_num_threads(2)
    changed.set()
    other.join()
    assert found == [1, 1]


@pytest.mark.usefixtures("two_threads")
def test_several_callers_at_once_each_get_their_own() -> None:
    found: dict[int, list[tuple[int, int]]] = {}

    def caller(number: int) -> None:
        torch.set_num_threads(2)
        for _ in range(10):
            found[number] = side_by_side(
                lambda task: (number + task, torch.get_num_threads()), list(range(6))
            )

    callers = [threading.Thread(target=caller, args=(100 * number,)) for number in range(4)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    assert found == {
        100 * number: [(100 * number + task, 1) for task in range(6)] for number in range(4)
    }


@pytest.mark.usefixtures("two_threads")
def test_a_lone_task_has_all_threads_if_that_gives_the_same_bits() -> None:
    (threads,) = Workers(steady).map(lambda number: torch.get_num_threads(), [1])
    assert threads == 2
    (threads,) = Workers(by_thread_count).map(lambda number: torch.get_num_threads(), [1])
    assert threads == 1


@pytest.mark.usefixtures("two_threads")
def test_an_error_in_one_task_reaches_the_caller() -> None:
    def work(number: int) -> int:
        if number == 2:
            raise ValueError("task 2")
        return number

    with pytest.raises(ValueError, match="task 2"):
        side_by_side(work, list(range(5)))
    assert torch.get_num_threads() == 2
