"""Two and five drivers at once on one output, with the lock switched off."""

from contextlib import ExitStack

from benchmarks.faults.compare import Difference, difference
from benchmarks.faults.driver import Driver
from benchmarks.faults.drivers import SHORT_INPUTS, undisturbed
from benchmarks.faults.family import Asked, Report
from benchmarks.faults.toy import times_decoded
from benchmarks.toy_job import content

LONG_RACES, SHORT_RACES = 30, 1
LONG_INPUTS = 14
NUM_DRIVERS = (2, 5)
"""In turns."""
LONGEST_WORK_S = 0.15


def run(asked: Asked) -> Report:
    """Drivers that stay for all races, so that a race costs its workers' start and its work."""
    report = Report(wanted=LONG_RACES if asked.is_long else SHORT_RACES, difference=Difference())
    num_inputs = LONG_INPUTS if asked.is_long else SHORT_INPUTS
    inputs, alone = undisturbed(asked, num_inputs)
    log = asked.folder / "drivers.log"
    wanted, decoded_once = content(alone), times_decoded(inputs, alone)
    nums_drivers = NUM_DRIVERS[: report.wanted]
    contended, decoded = 0, 0
    with ExitStack() as stack:
        drivers = [
            stack.enter_context(Driver.start(asked.shared.cluster, log))
            for _ in range(max(nums_drivers))
        ]
        for driver in drivers:
            driver.wait_for("up")
        while report.runs < report.wanted and not asked.is_over:
            out = asked.folder / f"out-{report.runs}"
            racing = drivers[: nums_drivers[report.runs % len(nums_drivers)]]
            race = f"race {report.runs} of {len(racing)}"
            # The time that work takes decides which of their steps meet.
            work_s = asked.rng(report.runs).uniform(0, LONGEST_WORK_S)
            for driver in racing:
                driver.ask(inputs, out, workers=1, work_s=work_s, shared=True)
            ends = [driver.wait_for("end") for driver in racing]
            report.failures += [
                f"{race}: {end['error']}: {end['says']}; {asked.again()}"
                for end in ends
                if end["error"]
            ]
            found = difference(wanted, content(out))
            report.difference = (report.difference or Difference()) + found
            if found:
                report.failures.append(f"{race}: {found}; {asked.again()}")
            decoded += times_decoded(inputs, out)
            contended += times_decoded(inputs, out) > decoded_once
            report.runs += 1
            asked.say(f"{report.runs} races, work was done twice in {contended} of them")
    report.figures = {
        "drivers": list(nums_drivers),
        "races_with_work_done_twice": contended,
        "decoded_over_undisturbed": (
            round(decoded / (report.runs * decoded_once), 2) if report.runs else None
        ),
    }
    return report
