"""When a worker that was lost is started again, and when it is given up: pool by pool."""

import pytest

from pipeline import lost_starts
from pipeline.fit import Pool
from pipeline.lost_starts import LostStarts
from schemas.errors import PlanError

CPU = Pool("cpu", 4, 1, 0, 100)
GPU = Pool("gpu", 1, 1, 1, 100)
LATER = float("inf")
"""After all that went before: a start that belongs to a new round."""


def test_workers_that_are_lost_together_are_one_round_and_each_waits_longer() -> None:
    lost = LostStarts()
    assert [lost.lost(CPU, 0.0, "", False) for _ in range(CPU.size)] == [1.0] * CPU.size
    assert (lost.waits(), lost.waits("cpu"), lost.waits("gpu")) == (True, True, False)
    waits = [lost.lost(CPU, LATER, "", False) for _ in range(8)]
    assert waits == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0]
    with pytest.raises(PlanError, match=r"10 times in a row \(gone\)"):
        lost.lost(CPU, LATER, "gone", False)
    assert lost.due() == []
    lost.has_come_up("cpu")
    assert lost.lost(CPU, LATER, "", False) == 1.0


def test_pools_are_counted_apart() -> None:
    lost = LostStarts()
    for _ in range(9):
        lost.lost(CPU, LATER, "", False)
    assert lost.lost(GPU, LATER, "", False) == 1.0
    lost.has_come_up("gpu")
    with pytest.raises(PlanError, match="a cpu worker cannot be started"):
        lost.lost(CPU, LATER, "", False)


def test_while_others_of_the_pool_work_it_is_never_given_up() -> None:
    lost = LostStarts()
    waits = [lost.lost(CPU, LATER, "", True) for _ in range(2000)]
    assert waits[5:] == [30.0] * 1995
    for _ in range(9):
        assert lost.lost(CPU, LATER, "", False) == 30.0
    with pytest.raises(PlanError, match="10 times in a row"):
        lost.lost(CPU, LATER, "", False)


def test_a_worker_is_due_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost_starts, "FIRST_WAIT_S", 0.0)
    lost = LostStarts()
    lost.lost(CPU, 0.0, "", False)
    assert lost.due() == [CPU]
    assert (lost.due(), lost.waits()) == ([], False)
