"""The demo job's chain in a loop, with its workers kept: what grows, and what is left behind?

    python -m benchmarks.faults.soak FOLDER SECONDS [STAGE ...]

runs the loop: the demo corpus' recordings through the engine as unit after unit, each committed.
The family looks at its processes from outside, by role: driver, workers, decoders, Ray's servers.
The first third is warm-up. Growth is the slope of a robust line (Theil and Sen) through what comes
after, times its length.
"""

import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.faults.family import Asked, Report
from benchmarks.machine import ROOT
from jobs.tokenizers import open_tokenizer
from pipeline.assemble import Job, assemble
from pipeline.engine import Engine
from pipeline.inputs import list_inputs
from pipeline.manifest import Manifest
from pipeline.spec_file import read_yaml
from pipeline.work import Step, Work
from pipeline.worker import Unit, UnitResult
from schemas.ids import digest
from schemas.job import JobSpec

LONG_S, SHORT_S = 1800.0, 15.0
SHORT_STAGES = ("decode", "normalize", "vad")
"""Whose models load in seconds; the long form has all."""
SAMPLES, SHORT_SAMPLES = 180, 30
WARM_UP = 1 / 3
SLACK_MB = 8.0
"""Of a role's memory, over the time that counts: what the noise of other inputs in flight makes."""
MOST_MORE = 1.0
"""Of files, threads and processes: so much growth is a failure, and less is not."""
ROLES = {
    "worker": "ray::Actor",
    "decoder": "stages.decoding.child",
    "gcs_server": "gcs_server",
    "raylet": "raylet/raylet",
    "driver": "benchmarks.faults.soak",
}


def run(asked: Asked) -> Report:
    """Starts the loop, looks at it until it ends, and for what it left."""
    seconds = LONG_S if asked.is_long else SHORT_S
    report = Report(wanted=1)
    seen: dict[int, float] = {}
    samples: list[dict[str, dict[str, float]]] = []
    log = asked.folder / "soak.log"
    stages = () if asked.is_long else SHORT_STAGES
    arguments = [str(asked.folder), str(seconds), *stages]
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.faults.soak", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        if process.stdout is None:
            raise RuntimeError("a process without a pipe")
        process.stdout.readline()  # it is up
        every_s = seconds / (SAMPLES if asked.is_long else SHORT_SAMPLES)
        while process.poll() is None and not asked.is_over:
            samples.append(_sample(process.pid, seen))
            time.sleep(every_s)
        if process.poll() is None:
            report.failures.append(f"it does not end; {asked.again()}")
            process.kill()
        said = process.stdout.read()
    if process.returncode:
        report.failures.append(f"ended with {process.returncode}: {log.read_text()[-2000:]}")
        return report
    report.runs = 1
    left = [pid for pid, started in seen.items() if _is_there(pid, started)]
    if left:
        report.failures.append(f"{len(left)} processes are left; {asked.again()}")
    counted = samples[int(len(samples) * WARM_UP) :]
    growth = {role: _growth(counted, role) for role in ROLES}
    if asked.is_long:
        report.failures += [
            f"{role}: {what}; {asked.again()}"
            for role, figures in growth.items()
            for what in too_much(figures)
        ]
    report.figures = {
        **json.loads(said.splitlines()[-1]),
        "after_warm_up": growth,
        "tolerated_growth": {
            "mb": SLACK_MB,
            "files_threads_processes_below": MOST_MORE,
        },
        "processes_left": len(left),
        "loop_s": seconds,
    }
    return report


def _sample(pid: int, seen: dict[int, float]) -> dict[str, dict[str, float]]:
    """Sums over the processes of each role."""
    sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        try:
            title = " ".join(process.cmdline())
            role = next((name for name, mark in ROLES.items() if mark in title), None)
            seen[process.pid] = process.create_time()
            if role is None:
                continue
            memory = process.memory_info()
            sums[role]["mb"] += (memory.rss - memory.shared) / 2**20
            sums[role]["files"] += process.num_fds()
            sums[role]["threads"] += process.num_threads()
            sums[role]["processes"] += 1
        except psutil.Error:
            continue  # it ended meanwhile
    return {role: dict(figures) for role, figures in sums.items()}


def _growth(samples: list[dict[str, dict[str, float]]], role: str) -> dict[str, float]:
    """Median of each figure, and how much it grows over the samples."""
    found = {}
    for figure in ("mb", "files", "threads", "processes"):
        values = np.array([sample[role][figure] for sample in samples if role in sample])
        if len(values) < 4:
            continue
        first, second = np.triu_indices(len(values), 1)
        slope = np.median((values[second] - values[first]) / (second - first))
        found[figure] = round(float(np.median(values)), 1)
        found[f"{figure}_growth"] = round(float(slope * len(values)), 2)
    return found


def too_much(figures: dict[str, float]) -> Iterator[str]:
    """What is wrong with the figures of a role, in words; a role that was not seen has none."""
    if not figures:
        yield "not seen often enough to tell"
        return
    if figures["mb_growth"] > SLACK_MB:
        yield f"grows by {figures['mb_growth']} MB on {figures['mb']}"
    for figure in ("files", "threads", "processes"):
        if figures[f"{figure}_growth"] >= MOST_MORE:
            yield f"grows by {figures[f'{figure}_growth']} {figure} on {figures[figure]}"


def _is_there(pid: int, started: float) -> bool:
    try:
        process = psutil.Process(pid)
        alive = process.create_time() == started and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    return alive


def _loop(folder: Path, seconds: float, stages: Sequence[str]) -> None:
    job = _job(folder / "out", stages)
    sources = list_inputs(job.spec.inputs).sources
    labels = tuple(named.label for named in job.stages)
    manifest = Manifest.create(folder / "out")
    num_committed = 0

    def commit(_: Work, result: UnitResult) -> None:
        nonlocal num_committed
        manifest.commit(result.unit_id, result.files, result.epoch)
        num_committed += 1

    with Engine(job, folder / "out", open_tokenizer) as engine:
        print("up", flush=True)
        deadline = time.monotonic() + seconds

        def works() -> Iterator[Work]:
            for number in count():
                # One loop at least, however slow the machine.
                if number >= len(sources) and time.monotonic() > deadline:
                    return
                unit_id = digest("soak", str(number))
                source = sources[number % len(sources)]
                attempt = Unit(unit_id, (source,), manifest.epoch())
                steps = (Step("cpu", "run_unit", (labels, True)),)
                yield Work(unit_id, attempt, (attempt,), steps)

        engine.stream(works(), commit)
        ended = dict(engine.ended)
    figures: dict[str, Any] = {"units": num_committed, "loops": num_committed // len(sources)}
    print(json.dumps({**figures, "workers_ended": ended}), flush=True)


def _job(out: Path, stages: Sequence[str]) -> Job:
    raw = read_yaml(ROOT / "jobs/demo.yaml")
    names = [name for name in raw["stages"] if name not in ("fingerprint", "duplicates")]
    raw["stages"] = {name: raw["stages"][name] for name in names if not stages or name in stages}
    raw |= {"references": None, "tokenize": None, "output": str(out), "name": "soak"}
    raw["inputs"] = {"uri": str(ROOT / "jobs/demo/corpus")}
    return assemble(JobSpec(**raw))


if __name__ == "__main__":
    _loop(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
