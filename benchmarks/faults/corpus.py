"""Every kind of bad input through the demo job: the expected end each, and no good row harmed."""

from collections.abc import Iterable, Sequence

from benchmarks.faults.chain import LURE_FAMILIES, LURE_STAGES, run_chain
from benchmarks.faults.compare import Difference
from benchmarks.faults.family import Asked, Report
from benchmarks.malformed.check import disagreement
from benchmarks.malformed.kind import Kind, Outcome
from benchmarks.malformed.kinds import KINDS

SHORT_EVERY = 10
"""The short form: one kind in so many, so that every family is there, and all lures of files. One
job tells this family and that of the lures; the tests of `stages/` have all kinds decoded."""
HUNG = (Outcome(error_class="TIMEOUT"), Outcome())
"""An input that ran into its limit of time, and one without any row at the end."""


def run(asked: Asked) -> Report:
    """One job over all of them."""
    kinds = KINDS if asked.is_long else sample()
    files = [kind for kind in kinds if kind.uri is None]
    report = Report(wanted=len(files))
    found = run_chain(asked, kinds, () if asked.is_long else LURE_STAGES)
    if found["error"]:
        report.failures.append(f"{found['error']}; {asked.again()}")
        # Beyond its time the job was killed, and no input can be told from another.
        report.figures = {"hangs": 1 if asked.is_over else None}
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
        "hangs": num_hangs(found["unexpected"], files),
        "connections": found["connections"],
        "canaries_opened": found["canaries_opened"],
        "workers_replaced": found["workers_replaced"],
        "job_s": found["seconds"],
    }
    return report


def sample() -> list[Kind]:
    """The kinds of the short form, in their order."""
    chosen = {kind.name for kind in KINDS[::SHORT_EVERY]}
    return [kind for kind in KINDS if kind.name in chosen or kind.family in LURE_FAMILIES]


def num_hangs(unexpected: Sequence[str], kinds: Iterable[Kind]) -> int:
    """How many of `kinds` hung and should not; `unexpected` is what `check_rows` says of them."""
    return sum(any(disagreement(kind, hung) in unexpected for hung in HUNG) for kind in kinds)
