"""What a family of faults is asked, and what it reports."""

import random
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil

from benchmarks.faults.compare import Difference
from benchmarks.faults.hang import processes_below
from benchmarks.toy_job import ToyCluster, toy_cluster

CLUSTER_CPUS = 16
"""Claimed, not real: as many workers as anything here starts at once, the dead ones included."""


@dataclass
class Shared:
    """What families use in common, made when the first asks for it."""

    folder: Path
    """A temporary folder of this run."""
    stack: ExitStack
    others: frozenset[psutil.Process] = field(default_factory=processes_below)
    """Of this process before anything here was started."""

    @cached_property
    def cluster(self) -> ToyCluster:
        """A Ray that drivers join, so that one is up in seconds."""
        return self.stack.enter_context(toy_cluster(CLUSTER_CPUS))

    def forget_cluster(self) -> None:
        """After it was killed: who asks next has a new one."""
        self.__dict__.pop("cluster", None)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a family is asked to do."""

    name: str
    seed: int
    is_long: bool
    shared: Shared
    deadline: float
    """Of `time.monotonic()`: no new fault after it. See `hang.GRACE_S` for what is under way."""

    @cached_property
    def folder(self) -> Path:
        """The family's own."""
        folder = self.shared.folder / self.name
        folder.mkdir()
        return folder

    def rng(self, number: int) -> random.Random:
        """Chance of the run with that number."""
        return random.Random(f"{self.name}/{self.seed}/{number}")

    def again(self) -> str:
        """The command that runs this family once more, with the same chances."""
        length = "--long" if self.is_long else "--short"
        return f"python -m benchmarks.faults {length} --only {self.name} --seed {self.seed}"

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self.deadline

    def say(self, line: str) -> None:
        """Progress, for people."""
        print(f"{time.strftime('%H:%M:%S')} {self.name}: {line}", file=sys.stderr, flush=True)


@dataclass(kw_only=True)
class Report:
    """What came of a family."""

    runs: int = 0
    """Faults, or checks: what the bound is taken over."""
    wanted: int = 0
    """How many of them there should be; fewer is a failure."""
    failures: list[str] = field(default_factory=list)
    difference: Difference | None = None
    """Rows against the undisturbed run's; None where no tables are compared."""
    figures: dict[str, Any] = field(default_factory=dict)

    def to_json(self, asked: Asked, seconds: float) -> dict[str, Any]:
        """For the last line."""
        failures = list(self.failures)
        if self.runs < self.wanted:
            failures.append(f"{self.runs} of {self.wanted} in the time there was")
        is_bound = not failures and self.runs >= LEAST_TRIALS
        rows = self.difference.to_json() if self.difference is not None else {}
        return {
            "runs": self.runs,
            **rows,
            "failures": failures[:MOST_SHOWN],
            "num_failures": len(failures),
            "failures_below": round(3 / self.runs, 6) if is_bound else None,
            **self.figures,
            "seconds": round(seconds, 1),
            "again": asked.again(),
        }


MOST_SHOWN = 20
LEAST_TRIALS = 10
"""Of fewer runs without a failure no bound is taken: 3 divided by them says nothing."""
