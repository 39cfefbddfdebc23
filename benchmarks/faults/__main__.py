"""Command line: runs families of faults one after the other, and sums up."""

import argparse
import importlib
import json
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.faults import hang
from benchmarks.faults.family import Asked, Report, Shared
from benchmarks.faults.tracing import NotHereError
from benchmarks.machine import machine


@dataclass(frozen=True, slots=True)
class Family:
    """Faults of one kind, and how many seconds they may take, long and short.

    The short limits leave room for a machine several times slower than two free cores.
    """

    where: str
    """Module and function; imported when it runs, because some bring models along."""
    long_s: float
    short_s: float


FAMILIES = {
    # The first, because it compares walls: nothing that others started is there yet, a Ray least.
    "overhead": Family("overhead:run", 900, 360),
    "worker_kills": Family("workers:run", 900, 360),
    "driver_kills": Family("drivers:run", 1200, 360),
    "store_kills": Family("stores:run", 900, 360),
    "races": Family("races:run", 900, 360),
    "crash_points": Family("crashes:run_crashes", 900, 360),
    "disk_errors": Family("crashes:run_errors", 1500, 360),
    "full_disk": Family("full_disk:run", 900, 360),
    "damage": Family("damage:run", 600, 360),
    "corpus": Family("corpus:run", 1200, 600),
    "lures": Family("lures:run", 600, 600),
    "simulation": Family("schedules:run", 1800, 360),
    "soak": Family("soak:run", 2100, 720),
}

FAILED, NOT_RUN = 1, 3
STATUS = (
    f"Exit status: 0 if all families ran and found nothing; {FAILED} if anything failed; {NOT_RUN} "
    "if nothing failed but a family cannot run on this machine (key not_run of the JSON names it)."
)


def main(argv: list[str] | None = None) -> int:
    """Prints what came of the families; the last line is one JSON object. Exit status: `STATUS`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", epilog=STATUS)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--long", action="store_true", help="the full numbers (the default)")
    length.add_argument("--short", action="store_true", help="a few of each, as in CI")
    parser.add_argument(
        "--only", action="append", choices=FAMILIES, metavar="NAME", help="one family; repeatable"
    )
    parser.add_argument("--skip", action="append", choices=FAMILIES, metavar="NAME", default=[])
    parser.add_argument("--seed", type=int, default=0, help="of all chances")
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    arguments = parser.parse_args(argv)
    names = [name for name in arguments.only or FAMILIES if name not in arguments.skip]
    found: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="audiomill-faults-"))
        shared = Shared(Path(folder), stack)
        for name in names:
            found[name] = _run(name, shared, arguments.seed, is_long=not arguments.short)
    if not arguments.json:
        for name, report in found.items():
            print(f"{name}: {_told(report)}")
    not_run = [name for name, report in found.items() if "not_run" in report]
    told = {"not_run": not_run, "families": found, "machine": machine()}
    print(json.dumps(summary(found) | told))
    if any(report["num_failures"] for report in found.values()):
        return FAILED
    return NOT_RUN if not_run else 0


def _told(report: dict[str, Any]) -> str:
    if "not_run" in report:
        return f"NOT RUN: {report['not_run']}"
    return f"{report['runs']} runs, {report['num_failures']} failures"


def _run(name: str, shared: Shared, seed: int, *, is_long: bool) -> dict[str, Any]:
    family = FAMILIES[name]
    started = time.monotonic()
    limit_s = family.long_s if is_long else family.short_s
    asked = Asked(name=name, seed=seed, is_long=is_long, shared=shared, deadline=started + limit_s)
    asked.say("begins")
    try:
        module, _, function = family.where.partition(":")
        run = getattr(importlib.import_module(f"benchmarks.faults.{module}"), function)
        with hang.bounded(limit_s + hang.GRACE_S, shared.others):
            found = run(asked)
    except NotHereError as error:
        asked.say(f"NOT RUN: {error}")
        return {"runs": None, "not_run": str(error), "num_failures": 0}
    except hang.HangError:
        shared.forget_cluster()
        found = _broken(asked)
    except Exception:  # noqa: BLE001  (told as a failure; the other families go on)
        found = _broken(asked)
    report = found.to_json(asked, time.monotonic() - started)
    for failure in report["failures"]:
        asked.say(f"FAILED {failure}")
    asked.say(f"{report['runs']} runs, {report['num_failures']} failures, {report['seconds']} s")
    return report


def _broken(asked: Asked) -> Report:
    return Report(failures=[f"{traceback.format_exc()[-2000:]}; {asked.again()}"])


def summary(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The figures by their keys; None for what was not run."""

    def of(family: str, key: str) -> Any:
        return found[family].get(key) if family in found else None

    def total(key: str) -> int | None:
        counts = [report[key] for report in found.values() if key in report]
        return sum(counts) if counts else None

    return {
        "lost": total("lost"),
        "duplicated": total("duplicated"),
        "phantom": total("phantom"),
        "worker_kills": of("worker_kills", "runs"),
        "driver_kills": of("driver_kills", "runs"),
        "store_kills": of("store_kills", "runs"),
        "redone_a_kill": of("driver_kills", "redone_a_kill"),
        "races": of("races", "runs"),
        "crash_points": of("crash_points", "runs"),
        "disk_faults": _sum(of("disk_errors", "runs"), of("full_disk", "runs")),
        "damaged_files": of("damage", "runs"),
        "corpus_kinds": of("corpus", "runs"),
        "corpus_unexpected": of("corpus", "unexpected"),
        "corpus_hangs": of("corpus", "hangs"),
        "lures_open": of("lures", "open"),
        "simulation_schedules": of("simulation", "runs"),
        "simulation_violations": of("simulation", "violations"),
        "soak_failures": of("soak", "num_failures"),
        "overhead": of("overhead", "overhead"),
        "failures": sum(report["num_failures"] for report in found.values()),
    }


def _sum(*numbers: int | None) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


if __name__ == "__main__":
    sys.exit(main())
