"""The protocol holds under every mix of faults, and the simulation would say if it did not."""

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Collection
from types import ModuleType
from typing import Any

import pytest

import pipeline.commit
import pipeline.garbage
from benchmarks.machine import ROOT
from benchmarks.simulation.__main__ import main, shown, simulate
from benchmarks.simulation.drivers import Driver, Rules
from benchmarks.simulation.request import Append, Refresh
from benchmarks.simulation.scheduler import Result, Schedule
from benchmarks.simulation.simulated_store import Entry, Truth, View
from benchmarks.simulation.stepwise import stepwise
from pipeline.commit import Outcome, commit_unit
from pipeline.store import DataFile, UnknownOutcomeError

SEEDS_ENOUGH_TO_FIND = 3_000
EVENTS = {
    *(outcome.value for outcome in Outcome),
    *("crash_before", "crash_after", "crash_in_flight", "refused", "reply_lost", "late"),
    *("repeated", "repeated_late", "log_lag", "list_lag", "carried out late", "append unanswered"),
}


def test_two_thousand_schedules_find_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    figures = simulate(0, 2_000)
    assert figures["seeds_that_failed"] == [], capsys.readouterr().err
    assert figures["simulation_schedules"] == 2_000
    rare = {event for event in EVENTS if figures["events"].get(event, 0) < 200}
    assert not rare, "what does not occur is not tested"


def test_a_seed_replays_in_any_process() -> None:
    command = (sys.executable, "-m", "benchmarks.simulation", "--trace", "--seed", "11")
    traces = {
        subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    (trace,) = traces
    assert trace.decode() == shown(Schedule(11).run()) + "\n"


def test_the_last_line_is_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["simulation", "--schedules", "3", "--json"])
    assert main() == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    wanted = {"simulation_schedules", "simulation_violations", "steps", "seconds"}
    assert wanted | {"seeds_that_failed", "machine"} <= figures.keys()
    assert (figures["simulation_schedules"], figures["simulation_violations"]) == (3, 0)


def test_real_code_is_left_at_every_request() -> None:
    truth = Truth()
    view = View(truth)
    steps = stepwise(commit_unit, view, "a", (), 0)
    append = Append(0, Entry("a", (), 0))
    assert next(steps) == Refresh()
    assert steps.send(view.advance(0)) == append
    assert steps.throw(UnknownOutcomeError("no answer")) == Refresh()
    assert steps.send(view.advance(0)) == append
    assert append.apply(truth)
    assert steps.send(append.apply(truth)) == Refresh()
    with pytest.raises(StopIteration) as end:
        steps.send(view.advance(1))
    assert end.value.value is Outcome.ALREADY


# Each guard of the protocol is taken out of its source in turn.


def without(module: ModuleType, name: str, *edits: tuple[str, str]) -> Any:
    """The function `name` of `module`, compiled from its source with `edits` made."""
    source = inspect.getsource(module)
    for old, new in edits:
        assert source.count(old) == 1, f"{old!r} is not there any more; edit the guard's test"
        source = source.replace(old, new)
    namespace: dict[str, Any] = {"__name__": f"broken_{name}"}
    exec(compile(source, f"broken {name}", "exec"), namespace)
    namespace["Outcome"] = Outcome
    return namespace[name]


def commit_without(*edits: tuple[str, str]) -> Callable[..., Outcome]:
    commit: Callable[..., Outcome] = without(pipeline.commit, "commit_unit", *edits)
    return commit


def collect_without(*edits: tuple[str, str]) -> Callable[..., list[str]]:
    collect: Callable[..., list[str]] = without(pipeline.garbage, "collect", *edits)
    return collect


def unfenced(unit: str, epoch: int, sha256: str) -> str:
    return f"{unit}-{sha256[:12]}.parquet"


EPOCH_CHECK = ("if store.epoch() != epoch:", "if False:")
UNIT_CHECK = ("if store.is_committed(unit):", "if False:")
NAME_CHECK = ("if epoch_of(file.name) != epoch:", "if False:")
LIVE_CHECK = (
    "name in committed or (epoch is not None and epoch >= store.epoch())",
    "name in committed",
)
CLEAN_UP = "[store.delete(file.name) for file in files]"


class OverwritingTruth(Truth):
    def append(self, number: int, entry: Entry) -> bool:
        if number < len(self.log):
            self.log[number] = entry
            return True
        return super().append(number, entry)


class AnyNumberTruth(Truth):
    def append(self, number: int, entry: Entry) -> bool:
        return super().append(len(self.log), entry)


class ForgetfulView(View):
    """Sees the last entry's files one refresh later than the entry, but for the first."""

    def committed_files(self) -> Collection[DataFile]:
        files = super().committed_files()
        last = self._truth.log[self.seen - 1].files[1:] if self.seen else ()
        return [file for file in files if file not in last]


class RenamingDriver(Driver):
    """Names what it settles after what it could read."""

    @property
    def barrier(self) -> str:  # type: ignore[override]
        return f"duplicates{len(self._truth.files) % 2}"


class RegroupingDriver(Driver):
    """Makes its units from what is left to do."""

    def _do(self, unit: str) -> list[Any]:
        return super()._do(unit.removesuffix("+"))

    def _pending(self) -> list[str]:
        units = super()._pending()
        return [unit + "+" for unit in units] if len(units) == 1 and units[0][0] == "m" else units


BROKEN = {
    "commits without looking whether the unit exists": Rules(commit=commit_without(UNIT_CHECK)),
    "commits without looking at the epoch": Rules(commit=commit_without(EPOCH_CHECK)),
    "looks once, not before every try": Rules(
        commit=commit_without(
            (UNIT_CHECK[0], "if not _ and store.is_committed(unit):"),
            (EPOCH_CHECK[0], "if not _ and store.epoch() != epoch:"),
        )
    ),
    "takes no answer for yes": Rules(
        commit=commit_without(("asked = True", "return Outcome.COMMITTED"))
    ),
    "cleans up when there was no answer": Rules(
        commit=commit_without(("asked = True", f"{CLEAN_UP}; raise"))
    ),
    "cleans up when the unit exists": Rules(
        commit=commit_without(("return Outcome.ALREADY", f"{CLEAN_UP}; return Outcome.ALREADY"))
    ),
    "collects without raising the epoch": Rules(
        collect=collect_without(("        _raise_epoch(store)\n", "        pass\n"), LIVE_CHECK)
    ),
    "collects files of the new epoch": Rules(collect=collect_without(LIVE_CHECK)),
    "collects by what it saw before raising the epoch": Rules(
        collect=collect_without(
            ("for file in store.committed_files()}\n    deleted", "for file in ()}\n    deleted")
        )
    ),
    "collects though nobody answered": Rules(
        collect=collect_without(
            ("            continue\n    raise", "            return\n    raise"), LIVE_CHECK
        )
    ),
    "names without an epoch": Rules(
        name=unfenced,
        commit=commit_without(NAME_CHECK),
        collect=collect_without(("if any(epoch >= store.epoch() for epoch in epochs)", "if True")),
    ),
    "names without content": Rules(name=lambda unit, epoch, _: f"{unit}-{epoch}-{0:012}.parquet"),
    "a log that overwrites": Rules(truth=OverwritingTruth),
    "a log that takes the next free number": Rules(truth=AnyNumberTruth),
    "a log that shows half an entry": Rules(view=ForgetfulView),
    "a driver that names a unit after what it saw": Rules(driver=RenamingDriver),
    "a driver that regroups what is left": Rules(driver=RegroupingDriver),
}


def first_failure(rules: Rules) -> Result:
    results = (Schedule(seed, rules).run() for seed in range(SEEDS_ENOUGH_TO_FIND))
    return next(result for result in results if result.violation is not None)


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_protocol_is_found(what: str) -> None:
    found = first_failure(BROKEN[what])
    again = Schedule(found.seed, BROKEN[what]).run()
    assert shown(again) == shown(found), "and its seed replays it"


def test_a_failure_is_shown_with_its_steps_and_its_command() -> None:
    found = first_failure(BROKEN["a log that overwrites"])
    *steps, says, again = shown(found).splitlines()
    assert any("append" in step for step in steps)
    assert says == f"seed {found.seed}: an entry was changed or taken back"
    assert again == f"again: python -m benchmarks.simulation --trace --seed {found.seed}"


def test_a_protocol_that_raises_is_found() -> None:
    found = first_failure(Rules(name=unfenced))
    assert found.violation is not None
    assert "ValueError" in found.violation
