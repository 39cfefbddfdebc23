"""A small whole job in driver processes of its own, for whoever kills, races or starves drivers.

Input: text files of a few words that say what becomes of them (`tests/pipeline/toy_stages.py`):
kept, dropped, failed, repeated; two sweeps, a barrier and shards, without audio and without models.
All drivers share one Ray, so that a driver is up in seconds; a driver that is killed takes its
workers with it.

    python -m benchmarks.toy_job --json [--drivers 5] [--inputs 40]

runs one race of drivers on one output and compares the tables with an undisturbed run's.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT, machine
from pipeline.delta_store import DeltaStore
from pipeline.garbage import collect
from pipeline.manifest import Manifest
from pipeline.working_copy import folder_of
from schemas.errors import OutputError
from schemas.job import RunSpec
from schemas.manifest import TABLES

WORDS = ("good", "good", "silent", "good", "bad", "good")
RESULT = tuple(name for name in TABLES if name != "runs")
"""Tables that a job's inputs and spec decide; `runs` tells how often it was begun."""
Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ToyCluster:
    """A Ray that drivers join: where it is, and the environment that lets them in."""

    address: str
    environment: dict[str, str]


@dataclass(frozen=True, slots=True)
class Race:
    """What came of drivers that worked on one output at the same time."""

    exit_codes: list[int]
    units_by_driver: list[int]
    """How many units of inputs each of them was the first to commit."""
    differing_tables: list[str]
    """Tables that are not those of the undisturbed run."""


def write_inputs(folder: Path, num_inputs: int) -> Path:
    """Toy inputs of every fate: one word in six fails, one is dropped, copies and repeats among."""
    folder.mkdir(parents=True)
    for index in range(num_inputs):
        repeat = f" echo{index // 14}" if index % 7 == 0 else ""
        text = f"{WORDS[index % len(WORDS)]} {index}{repeat}"
        (folder / f"n{index:04}.txt").write_text(text)
        if index % 10 == 0:
            (folder / f"n{index:04}-copy.txt").write_text(text)
    return folder


@contextmanager
def toy_cluster(num_cpus: int) -> Iterator[ToyCluster]:
    """A Ray of `num_cpus` (claimed, not real) in a process of its own, for the block."""
    command = [sys.executable, "-m", "benchmarks.toy_job", "--keep-ray", str(num_cpus)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as keeper:
        if keeper.stdin is None or keeper.stdout is None:
            raise RuntimeError("a process without pipes")
        try:
            said = json.loads(keeper.stdout.readline())
            yield ToyCluster(said["address"], os.environ | said["environment"])
        finally:
            keeper.stdin.close()
            keeper.wait()


def start_driver(
    cluster: ToyCluster,
    inputs: Path,
    out: Path | str,
    *,
    workers: int = 1,
    inputs_per_unit: int | None = None,
    command: tuple[str, ...] = (),
) -> subprocess.Popen[str]:
    """A driver process without a lock on `out`, a folder or a URI.

    It prints a line when it is up, and begins when it is told a line. `command` is put before the
    driver's own, for example a tracer.
    """
    asked = {
        "inputs": str(inputs),
        "out": str(out),
        "address": cluster.address,
        "workers": workers,
        "inputs_per_unit": inputs_per_unit,
    }
    return subprocess.Popen(
        [*command, sys.executable, "-m", "benchmarks.toy_job", "--drive", json.dumps(asked)],
        cwd=ROOT,
        env=cluster.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def let_go(drivers: list[subprocess.Popen[str]]) -> None:
    """Waits until all of them are up, then lets them begin together."""
    for driver in drivers:
        if driver.stdout is None or not driver.stdout.readline():
            raise RuntimeError(f"a driver did not come up: {driver.communicate()[1]}")
    for driver in drivers:
        if driver.stdin is not None:
            driver.stdin.write("go\n")
            driver.stdin.flush()


def content(out: Path) -> dict[str, Rows]:
    """Rows of every table of the result, in an order of their own."""
    manifest = Manifest(out)
    found: dict[str, Rows] = {
        name: sorted(manifest.table(name).to_pylist(), key=str) for name in RESULT
    }
    # The name of a shard's file tells of collections of garbage; its content does not.
    for row in found["shards"]:
        del row["file"]
    return found


def differing(one: dict[str, Rows], other: dict[str, Rows]) -> list[str]:
    """Names of tables that are not equal."""
    return [name for name in RESULT if one[name] != other[name]]


def run_alone(cluster: ToyCluster, inputs: Path, out: Path) -> dict[str, Rows]:
    """The tables of a run that nobody disturbs."""
    driver = start_driver(cluster, inputs, out)
    let_go([driver])
    _, errors = driver.communicate()
    if driver.returncode:
        raise RuntimeError(f"the undisturbed run failed: {errors}")
    return content(out)


def race(
    cluster: ToyCluster,
    inputs: Path,
    out: Path | str,
    undisturbed: dict[str, Rows],
    num_drivers: int,
    *,
    collect_every_s: float | None = None,
) -> Race:
    """Starts drivers at once on one output, without a lock, and compares what they make.

    With `collect_every_s` garbage is collected all the time, without any grace for what they are
    just writing.
    """
    drivers = [start_driver(cluster, inputs, out) for _ in range(num_drivers)]
    let_go(drivers)
    while collect_every_s and any(driver.poll() is None for driver in drivers):
        time.sleep(collect_every_s)
        with suppress(OutputError):  # before the first of them has begun
            collect(DeltaStore(folder_of(str(out))), lambda _: True)
    ends = [driver.communicate() for driver in drivers]
    print("".join(errors for _, errors in ends), end="", file=sys.stderr)
    return Race(
        exit_codes=[driver.returncode for driver in drivers],
        units_by_driver=[json.loads(said)["units"] if said else 0 for said, _ in ends],
        differing_tables=differing(content(folder_of(str(out))), undisturbed),
    )


def _keep_ray(num_cpus: int) -> None:
    import ray
    from ray._private.ray_constants import ENABLE_RAY_CLUSTERS_ENV_VAR

    from pipeline.private_ray import MODE, TOKEN, private
    from pipeline.quiet import WORKER_ENVIRONMENT

    os.environ.update(WORKER_ENVIRONMENT)
    with private():
        ray.init(address="local", num_cpus=num_cpus, include_dashboard=False, log_to_driver=False)
        names = (TOKEN, ENABLE_RAY_CLUSTERS_ENV_VAR)
        environment = {MODE: "token", **{name: os.environ[name] for name in names}}
    address = ray.get_runtime_context().gcs_address
    print(json.dumps({"address": address, "environment": environment}), flush=True)
    sys.stdin.read()
    ray.shutdown()


def _drive(asked: dict[str, Any]) -> None:
    from pipeline.run import run_job
    from tests.pipeline.toy_jobs import Silent, open_toy_tokenizer, toy_shard_job

    run = RunSpec(workers=asked["workers"], inputs_per_unit=asked["inputs_per_unit"])
    job = toy_shard_job(Path(asked["inputs"]), asked["out"], run)
    print("up", flush=True)
    sys.stdin.readline()
    reporter = Silent()
    run_job(job, reporter, open_tokenizer=open_toy_tokenizer, address=asked["address"], shared=True)
    print(json.dumps({"units": len(reporter.units)}), flush=True)


def main(argv: list[str] | None = None) -> int:
    """Prints the figures of one race; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    parser.add_argument("--drivers", type=int, default=5, help="drivers at once")
    parser.add_argument("--inputs", type=int, default=40, help="inputs of the job")
    parser.add_argument("--keep-ray", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--drive", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.keep_ray:
        _keep_ray(args.keep_ray)
        return 0
    if args.drive:
        _drive(args.drive)
        return 0
    with (
        tempfile.TemporaryDirectory(prefix="audiomill-race-") as temporary,
        toy_cluster(args.drivers) as cluster,
    ):
        folder = Path(temporary)
        inputs = write_inputs(folder / "in", args.inputs)
        undisturbed = run_alone(cluster, inputs, folder / "alone")
        found = race(cluster, inputs, folder / "out", undisturbed, args.drivers)
    print(json.dumps({**asdict(found), "machine": machine()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
