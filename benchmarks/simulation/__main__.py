"""Command line: runs schedules, prints what failed and how to see it again."""

import argparse
import json
import sys
import time
from collections import Counter
from typing import Any

from benchmarks.machine import machine
from benchmarks.simulation.scheduler import Result, Schedule

MAX_FAILURES_SHOWN = 3


def simulate(first_seed: int, num_schedules: int) -> dict[str, Any]:
    """Runs the seeds from `first_seed` on; prints each of the first failures with its steps."""
    started = time.perf_counter()
    steps, failed, events = 0, [], Counter[str]()
    for seed in range(first_seed, first_seed + num_schedules):
        result = Schedule(seed).run()
        steps += result.steps
        events += result.events
        if result.violation is not None:
            failed.append(seed)
            if len(failed) <= MAX_FAILURES_SHOWN:
                print(shown(result), file=sys.stderr)
    return {
        "simulation_schedules": num_schedules,
        "simulation_violations": len(failed),
        # Rule of three: the 95 % bound where none was found.
        "violations_below": None if failed else 3 / num_schedules,
        "steps": steps,
        "seconds": round(time.perf_counter() - started, 1),
        "seeds_that_failed": failed,
        "first_seed": first_seed,
        "events": dict(sorted(events.items())),
    }


def shown(result: Result) -> str:
    """A schedule for people: its steps, what broke, and how to run it again."""
    return "\n".join(
        (
            *result.lines(),
            f"seed {result.seed}: {result.violation or 'no violation'}",
            f"again: python -m benchmarks.simulation --trace --seed {result.seed}",
        )
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation")
    parser.add_argument("--schedules", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first schedule")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--trace", action="store_true", help="one schedule, with its steps")
    asked = parser.parse_args()
    if asked.trace:
        result = Schedule(asked.seed).run()
        print(shown(result))
        return int(result.violation is not None)
    figures = simulate(asked.seed, asked.schedules)
    if asked.json:
        print(json.dumps(figures | {"machine": machine()}))
    else:
        print(*(f"{key}: {value}" for key, value in figures.items()), sep="\n")
    return int(figures["simulation_violations"] > 0)


if __name__ == "__main__":
    sys.exit(main())
