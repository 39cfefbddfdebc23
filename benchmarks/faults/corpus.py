"""Every kind of bad input through the demo job: the expected end each, and no good row harmed."""

from benchmarks.faults.chain import run_chain
from benchmarks.faults.compare import Difference
from benchmarks.faults.family import Asked, Report
from benchmarks.malformed.kinds import KINDS

SHORT_FAMILIES = ("headers", "not-audio")
SHORT_STAGES = ("decode", "normalize")


def run(asked: Asked) -> Report:
    """One job over all of them."""
    families = () if asked.is_long else SHORT_FAMILIES
    files = [kind for kind in KINDS if kind.uri is None]
    report = Report(wanted=sum(not families or kind.family in families for kind in files))
    found = run_chain(asked, families, () if asked.is_long else SHORT_STAGES)
    if found["error"]:
        report.failures.append(f"{found['error']}; {asked.again()}")
        return report
    report.runs = found["kinds"]
    report.difference = Difference(**found["difference"])
    report.failures += [f"{sentence}; {asked.again()}" for sentence in found["unexpected"]]
    if report.difference:
        report.failures.append(f"good files beside them: {report.difference}; {asked.again()}")
    if found["connections"] or found["canaries_opened"]:
        report.failures.append(
            f"{found['connections']} connections, opened {found['canaries_opened']}"
        )
    report.figures = {
        "unexpected": len(found["unexpected"]),
        "hangs": 0,
        "connections": found["connections"],
        "canaries_opened": found["canaries_opened"],
        "workers_replaced": found["workers_replaced"],
        "job_s": found["seconds"],
    }
    return report
