"""The commit protocol in a simulated store, under every mix of faults: `benchmarks.simulation`."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import psutil

from benchmarks.faults.family import Asked, Report
from benchmarks.simulation.__main__ import simulate

LONG_SCHEDULES, SHORT_SCHEDULES = 100_000, 300
AT_ONCE = 500
"""Schedules between two looks at the clock."""


def run(asked: Asked) -> Report:
    """Seeds from the family's own on, on all cores."""
    report = Report(wanted=LONG_SCHEDULES if asked.is_long else SHORT_SCHEDULES)
    violations, steps = 0, 0
    for found in _simulated(asked, report.wanted):
        report.failures += [
            f"seed {seed}; python -m benchmarks.simulation --trace --seed {seed}"
            for seed in found["seeds_that_failed"]
        ]
        violations += found["simulation_violations"]
        steps += found["steps"]
        report.runs += found["simulation_schedules"]
        if report.runs % (20 * AT_ONCE) == 0:
            asked.say(f"{report.runs} schedules, {violations} violations")
    report.figures = {"violations": violations, "steps": steps}
    return report


def _simulated(asked: Asked, wanted: int) -> Iterator[dict[str, Any]]:
    """Results of pieces, until all are done or the time is over."""
    firsts = range(asked.seed, asked.seed + wanted, AT_ONCE)
    cores = len(psutil.Process().cpu_affinity())
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(cores, mp_context=context) as pool:
        piece = partial(_piece, end=asked.seed + wanted)
        for start in range(0, len(firsts), cores):
            if asked.is_over:
                return
            yield from pool.map(piece, firsts[start : start + cores])


def _piece(first: int, end: int) -> dict[str, Any]:
    return simulate(first, min(AT_ONCE, end - first))
