"""A disk that is full in the middle of a job, for whoever writes next: driver or worker.

The job runs in a mount namespace of its own, on a small tmpfs. It must stop with a `StorageError`
and blame no input; once there is room, the same command must end like a run that nobody disturbed.

    python -m benchmarks.faults.full_disk FOLDER SEED RUNS SECONDS

is what runs inside the namespace; it prints a JSON object a line.
"""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.faults.compare import Difference, difference
from benchmarks.faults.family import Asked, Report
from benchmarks.faults.toy import counted_job
from benchmarks.faults.tracing import NotHereError
from benchmarks.machine import ROOT
from benchmarks.toy_job import content, write_inputs
from pipeline.manifest import Manifest
from pipeline.ray_cluster import start_ray
from pipeline.run import run_job
from schemas.errors import AudiomillError, StorageError
from tests.pipeline.toy_jobs import Silent, open_toy_tokenizer

LONG_RUNS, SHORT_RUNS = 20, 1
NUM_INPUTS = 14
ROOMY = "64m"
LEAST_SHARE, MOST_SHARE = 0.05, 0.9
"""Size of the small disk, as a share of what the job takes."""


def run(asked: Asked) -> Report:
    """Starts the process in its namespace and takes down what it tells."""
    report = Report(wanted=LONG_RUNS if asked.is_long else SHORT_RUNS, difference=Difference())
    write_inputs(asked.folder / "in", NUM_INPUTS)
    (asked.folder / "disk").mkdir()
    seconds = max(0.0, asked.deadline - time.monotonic())
    arguments = [str(asked.folder), str(asked.seed), str(report.wanted), f"{seconds:.0f}"]
    with (asked.folder / "inside.log").open("w") as errors:
        inside = subprocess.run(
            [*_namespace(), sys.executable, "-m", "benchmarks.faults.full_disk", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            check=False,
        )
    told = [json.loads(line) for line in inside.stdout.splitlines()]
    for run in told:
        report.runs += run["stopped"]
        report.difference = (report.difference or Difference()) + Difference(**run["difference"])
        report.failures += [f"run {run['run']}: {what}; {asked.again()}" for what in run["wrong"]]
    if inside.returncode:
        said = (asked.folder / "inside.log").read_text()[-2000:]
        report.failures.append(f"ended with {inside.returncode}: {said}; {asked.again()}")
    report.figures = {
        "stopped_by": sorted({run["said"] for run in told if run["said"]}),
        "kb_of_the_disk": [run["kb"] for run in told],
    }
    return report


def _namespace() -> list[str]:
    """What gives a process mounts of its own; root needs no user namespace for it."""
    command = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotHereError(f"no mount namespace can be made here: {error}") from error
    return command


def _inside(folder: Path, seed: int, num_runs: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    start_ray(num_cpus=2, num_gpus=0)
    inputs, disk = folder / "in", folder / "disk"
    _mount(disk, ROOMY)
    _work(inputs, disk / "out")
    wanted = content(disk / "out")
    full_kb = _kb(disk)
    _unmount(disk)
    number, stopped = 0, 0
    while stopped < num_runs and number < 2 * num_runs and time.monotonic() < deadline:
        rng = random.Random(f"full_disk/{seed}/{number}")
        kb = int(full_kb * rng.uniform(LEAST_SHARE, MOST_SHARE))
        _mount(disk, f"{kb}k")
        told: dict[str, Any] = {"run": number, "kb": kb, "wrong": [], "said": None}
        told["stopped"] = _fill(inputs, disk / "out", told)
        if (disk / "out" / "job.json").exists():
            failures = Manifest(disk / "out").table("failures").to_pylist()
            known = {str(row["message"]) for row in wanted["failures"]}
            told["wrong"] += [
                f"an input is blamed: {row['message']}"
                for row in failures
                if row["message"] not in known
            ]
        _remount(disk, ROOMY)
        try:
            _work(inputs, disk / "out")
            apart = difference(wanted, content(disk / "out"))
        except Exception as error:  # noqa: BLE001  (whatever it is, it is what is looked for)
            told["wrong"].append(f"with room it does not go on: {error!r}")
            apart = Difference()
        told["difference"] = apart.to_json()
        told["wrong"] += [str(apart)] if apart else []
        print(json.dumps(told), flush=True)
        _unmount(disk)
        stopped += told["stopped"]
        number += 1


def _fill(inputs: Path, out: Path, told: dict[str, Any]) -> bool:
    """Whether the disk stopped the job; it may have been large enough."""
    try:
        _work(inputs, out)
    except StorageError as error:
        told["said"] = str(error).partition(": ")[2][:80]
        return True
    except Exception as error:  # noqa: BLE001  (whatever it is, it is what is looked for)
        name = type(error).__name__
        kind = "another error" if isinstance(error, AudiomillError) else "a bare error"
        told["wrong"].append(f"{kind}: {name}: {error}")
        return True
    return False


def _work(inputs: Path, out: Path) -> None:
    job = counted_job(inputs, out, workers=2, work_s=0.0)
    run_job(job, Silent(), open_tokenizer=open_toy_tokenizer)


def _kb(folder: Path) -> int:
    status = os.statvfs(folder)
    return (status.f_blocks - status.f_bfree) * status.f_frsize // 1024


def _mount(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=True)


def _remount(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)


def _unmount(folder: Path) -> None:
    # Lazily: a worker that is on its way out may still hold a file open.
    subprocess.run(["umount", "-l", folder], check=True)


if __name__ == "__main__":
    _inside(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
