"""The commit protocol in a simulated store, under every mix of faults: `benchmarks.simulation`."""

from benchmarks.faults.family import Asked, Report
from benchmarks.simulation.__main__ import simulate

LONG_SCHEDULES, SHORT_SCHEDULES = 100_000, 300
AT_ONCE = 1_000
"""Schedules between two looks at the clock."""


def run(asked: Asked) -> Report:
    """Seeds from the family's own on, one after the other."""
    report = Report(wanted=LONG_SCHEDULES if asked.is_long else SHORT_SCHEDULES)
    violations, steps = 0, 0
    while report.runs < report.wanted and not asked.is_over:
        number = min(AT_ONCE, report.wanted - report.runs)
        found = simulate(asked.seed + report.runs, number)
        report.failures += [
            f"seed {seed}; python -m benchmarks.simulation --trace --seed {seed}"
            for seed in found["seeds_that_failed"]
        ]
        violations += found["simulation_violations"]
        steps += found["steps"]
        report.runs += number
        if report.runs % (10 * AT_ONCE) == 0:
            asked.say(f"{report.runs} schedules, {violations} violations")
    report.figures = {"violations": violations, "steps": steps}
    return report
