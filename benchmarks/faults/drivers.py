"""SIGKILL of the driver at random moments, and again, until the job is done."""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.faults.compare import Difference, Rows, difference
from benchmarks.faults.driver import Driver
from benchmarks.faults.family import Asked, Report
from benchmarks.faults.toy import times_decoded
from benchmarks.toy_job import ToyCluster, content, write_inputs
from pipeline.working_copy import folder_of

LONG_KILLS, SHORT_KILLS = 60, 2
LONG_INPUTS = 60
WORKERS = 2
WORK_S = 0.05
MOST_COMMITS = 8
"""A driver is killed before it has committed more than so many units, or while it starts."""
SHORT_INPUTS = 12
"""Of all families that ask for an undisturbed run, so that a short form makes one."""
START_S = 4.0
STARTING = 0.2
"""Share of kills while the driver or its workers start."""


def run(asked: Asked) -> Report:
    """On outputs of this disk."""
    kills = LONG_KILLS if asked.is_long else SHORT_KILLS
    folder = asked.folder
    return kill_drivers(asked, kills, asked.shared.cluster, lambda number: f"{folder}/out-{number}")


def kill_drivers(
    asked: Asked, kills: int, cluster: ToyCluster, output: Callable[[int], str]
) -> Report:
    """Kills, then compares; redone work is counted in decoded inputs.

    `output` names the output of each job: a path, or a URI of an object store.
    """
    num_inputs = LONG_INPUTS if asked.is_long else SHORT_INPUTS
    inputs, alone = undisturbed(asked, num_inputs)
    wanted, decoded_once = content(alone), times_decoded(inputs, alone)
    report = Report(wanted=kills, difference=Difference())
    redone, jobs = 0, 0
    while report.runs < kills and not asked.is_over:
        out = output(jobs)
        before = report.runs
        _until_done(asked, report, cluster, inputs, out)
        redone += times_decoded(inputs, out) - decoded_once
        _compare(asked, report, wanted, out, f"job {jobs} after {report.runs - before} kills")
        jobs += 1
        asked.say(f"{report.runs} kills, {jobs} jobs done, {redone} inputs decoded again")
    report.figures = {
        "jobs": jobs,
        "inputs_a_job": num_inputs,
        "decoded_undisturbed": decoded_once,
        "redone_a_kill": round(redone / report.runs, 2) if report.runs else None,
        "redone_share_a_kill": (
            round(redone / report.runs / decoded_once, 4) if report.runs else None
        ),
    }
    return report


def undisturbed(asked: Asked, num_inputs: int) -> tuple[Path, Path]:
    """Inputs, and the output of a job over them that nobody disturbed: one for all families.

    Who changes the output leaves it as it was.
    """
    folder = asked.shared.folder / f"undisturbed-{num_inputs}"
    inputs, out, is_done = folder / "in", folder / "out", folder / "done"
    if is_done.exists():
        return inputs, out
    write_inputs(inputs, num_inputs)
    with Driver.start(asked.shared.cluster, folder / "drivers.log") as driver:
        driver.ask(inputs, out, workers=WORKERS, work_s=0.0)
        end = driver.wait_for("end")
    if end["error"]:
        raise RuntimeError(f"the undisturbed run failed: {end['says']}")
    is_done.touch()
    return inputs, out


def _until_done(asked: Asked, report: Report, cluster: ToyCluster, inputs: Path, out: str) -> None:
    """Drivers on one output, one after the other, all killed but the last."""
    is_done = False
    while not is_done:
        with Driver.start(cluster, asked.folder / "drivers.log") as driver:
            driver.ask(inputs, out, workers=WORKERS, work_s=WORK_S)
            is_done = _ended(asked, report, driver)


def _ended(asked: Asked, report: Report, driver: Driver) -> bool:
    """Whether it came to its end; if not, it was killed."""
    may_kill = report.runs < report.wanted and not asked.is_over
    rng = asked.rng(report.runs)
    if may_kill and rng.random() < STARTING:
        time.sleep(rng.uniform(0, START_S))
    else:
        end = _listen(driver, rng.randint(1, MOST_COMMITS) if may_kill else sys.maxsize)
        if end is not None:
            if end["error"]:
                report.failures.append(f"{end['error']}: {end['says']}; {asked.again()}")
            return True
        time.sleep(rng.uniform(0, 3 * WORK_S))
    driver.kill()
    report.runs += 1
    return False


def _listen(driver: Driver, commits: int) -> dict[str, Any] | None:
    """Returns after so many commits, or with the end of the run."""
    for said in driver.events():
        if said["event"] == "end":
            return said
        commits -= said["event"] == "committed"
        if commits == 0:
            return None
    return {"error": "driver", "says": f"ended with {driver.process.wait()} by itself"}


def _compare(asked: Asked, report: Report, wanted: Mapping[str, Rows], out: str, what: str) -> None:
    found = difference(wanted, content(folder_of(out)))
    if report.difference is not None:
        report.difference += found
    if found:
        report.failures.append(f"{what}: {found}; {asked.again()}")
