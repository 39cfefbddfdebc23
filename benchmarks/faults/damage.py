"""Flipped bits and torn files: every one must be named, by whoever reads the file or by `verify`.

A finished output is damaged at one random place and mended again, some hundred times: one bit, or
the end cut off, of a random file that a commit, or the job file, names, or that is an entry of the
log. `verify` must name the file. What a plain reader of the tables says is counted beside it.
"""

import random
from collections import Counter
from pathlib import Path

from benchmarks.faults.drivers import SHORT_INPUTS, undisturbed
from benchmarks.faults.family import Asked, Report
from benchmarks.toy_job import content
from pipeline.delta_log import TABLE_FOLDER
from pipeline.manifest import Manifest
from pipeline.output import JOB_FILE
from pipeline.verify import verify
from schemas.errors import AudiomillError

LONG_RUNS, SHORT_RUNS = 390, 13
TURNS = ("manifest", "shards") * 5 + ("log", "inputs", "job.js")
"""Kinds of files, in turns: of 13 damaged files ten are tables and shards."""
LONG_INPUTS = 20
TORN_SHARE = 0.3


def run(asked: Asked) -> Report:
    """Damages, asks, mends."""
    report = Report(wanted=LONG_RUNS if asked.is_long else SHORT_RUNS)
    num_inputs = LONG_INPUTS if asked.is_long else SHORT_INPUTS
    _, out = undisturbed(asked, num_inputs)
    if not verify(out).ok:
        raise RuntimeError(f"an undamaged output is not proved: {verify(out).problems}")
    targets = _targets(out)
    how, by_reader = Counter[str](), 0
    while report.runs < report.wanted and not asked.is_over:
        rng = asked.rng(report.runs)
        path = rng.choice(targets[TURNS[report.runs % len(TURNS)]])
        whole = path.read_bytes()
        what = _damage(path, whole, rng)
        said = _said_by_verify(out)
        named = path.name in said
        if not named:
            where = path.relative_to(out)
            report.failures.append(
                f"{where}: {what} of {len(whole)} bytes is not named ({said or 'all well'}); "
                f"{asked.again()}"
            )
        by_reader += _reader_says(out)
        path.write_bytes(whole)
        how[f"{_kind(out, path)}, {what.split()[0]}"] += 1
        report.runs += 1
    if not verify(out).ok:
        raise RuntimeError("the output was not mended")
    report.figures = {
        "damaged": dict(sorted(how.items())),
        "noticed_by_reading_the_tables": by_reader,
    }
    return report


def _targets(out: Path) -> dict[str, list[Path]]:
    """All files that make up the output, by kind."""
    manifest = Manifest(out)
    named = [out / file.name for file in manifest.store.committed_files()]
    log = sorted((out / TABLE_FOLDER / "_delta_log").glob("*.json"))
    found: dict[str, list[Path]] = {}
    for path in [*sorted(named), *log, *sorted(out.glob("inputs-*.parquet")), out / JOB_FILE]:
        found.setdefault(_kind(out, path), []).append(path)
    return found


def _kind(out: Path, path: Path) -> str:
    first = path.relative_to(out).parts
    return "log" if "_delta_log" in first else first[0] if len(first) > 1 else path.name[:6]


def _damage(path: Path, whole: bytes, rng: random.Random) -> str:
    if rng.random() < TORN_SHARE:
        kept = rng.choice([0, 1, len(whole) // 2, len(whole) - 8, rng.randrange(len(whole))])
        path.write_bytes(whole[:kept])
        return f"torn behind byte {kept}"
    bit = rng.randrange(len(whole) * 8)
    flipped = bytearray(whole)
    flipped[bit // 8] ^= 1 << bit % 8
    path.write_bytes(flipped)
    return f"bit {bit}"


def _said_by_verify(out: Path) -> str:
    try:
        return " | ".join(verify(out).problems)
    except AudiomillError as error:
        return str(error)


def _reader_says(out: Path) -> bool:
    try:
        content(out)
    except AudiomillError:
        return True
    return False
