"""SIGKILL of a worker at random moments: at work, between units, while it starts."""

import threading

import psutil

from benchmarks.faults.compare import Difference, difference
from benchmarks.faults.driver import Driver
from benchmarks.faults.drivers import SHORT_INPUTS, undisturbed
from benchmarks.faults.family import Asked, Report
from benchmarks.faults.toy import times_decoded
from benchmarks.toy_job import content
from pipeline.manifest import Manifest

LONG_KILLS, SHORT_KILLS = 100, 4
LONG_INPUTS = 120
WORKERS = 4
WORK_S = 0.1
LONGEST_PAUSE_S = 2.0
"""Long enough for a worker to start now and then: of starts alone nothing is learned."""
ACTOR = "ray::Actor"
"""How Ray titles the processes of `pipeline.crew.Actor`, also while they start."""


def run(asked: Asked) -> Report:
    """Kills workers under jobs that never end early, until there were enough; then compares."""
    report = Report(wanted=LONG_KILLS if asked.is_long else SHORT_KILLS, difference=Difference())
    num_inputs = LONG_INPUTS if asked.is_long else SHORT_INPUTS
    inputs, alone = undisturbed(asked, num_inputs)
    log = asked.folder / "drivers.log"
    wanted, decoded_once = content(alone), times_decoded(inputs, alone)
    redone, replaced, jobs = 0, 0, 0
    with Driver.start(asked.shared.cluster, log) as driver:
        driver.wait_for("up")
        while report.runs < report.wanted and not asked.is_over:
            out, before = asked.folder / f"out-{jobs}", report.runs
            driver.ask(inputs, out, workers=WORKERS, work_s=WORK_S)
            end = _disturbed(asked, report, driver)
            if end["error"]:
                report.failures.append(
                    f"job {jobs}: {end['error']}: {end['says']}; {asked.again()}"
                )
                break
            redone += times_decoded(inputs, out) - decoded_once
            runs = Manifest(out).table("runs", ["workers_replaced"]).to_pylist()
            replaced += sum(row["workers_replaced"] for row in runs)
            found = difference(wanted, content(out))
            report.difference = (report.difference or Difference()) + found
            if found:
                kills = report.runs - before
                report.failures.append(f"job {jobs} after {kills} kills: {found}; {asked.again()}")
            jobs += 1
            asked.say(f"{report.runs} kills, {jobs} jobs done, {redone} inputs decoded again")
    report.figures = {
        "jobs": jobs,
        "inputs_a_job": num_inputs,
        "killed_at_work": replaced,
        "redone_a_kill": round(redone / report.runs, 2) if report.runs else None,
    }
    return report


def _disturbed(asked: Asked, report: Report, driver: Driver) -> dict[str, object]:
    """The end of a run whose workers are killed meanwhile."""
    ended = threading.Event()
    killer = threading.Thread(target=_kill, args=(asked, report, ended))
    killer.start()
    try:
        return driver.wait_for("end")
    finally:
        ended.set()
        killer.join()


def _kill(asked: Asked, report: Report, ended: threading.Event) -> None:
    while report.runs < report.wanted and not asked.is_over:
        rng = asked.rng(report.runs)
        if ended.wait(rng.uniform(0, LONGEST_PAUSE_S)):
            return
        victims = workers()
        if not victims:
            continue
        victim = rng.choice(victims)
        try:
            victim.kill()
            victim.wait(10)
        except psutil.NoSuchProcess:
            continue
        except psutil.TimeoutExpired:
            report.failures.append(f"worker {victim.pid} does not die; {asked.again()}")
        report.runs += 1


def workers() -> list[psutil.Process]:
    """Workers of any Ray below this process, in order of their ids."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.cmdline()[:1] and process.cmdline()[0].startswith(ACTOR):
                found.append(process)
        except psutil.Error:
            continue
    return sorted(found, key=lambda process: process.pid)
