"""A killed driver and a lost node: seen from outside, blamed on nobody, gone on from."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.heartbeat import read_heartbeats
from pipeline.manifest import Manifest
from pipeline.run import run_job
from pipeline.status import status_of
from schemas.job import RunSpec
from tests.pipeline.faulty_stages import faulty_job
from tests.pipeline.toy_jobs import Silent, write_words

ROOT = Path(__file__).resolve().parents[2]
DRIVER = """
import os, sys
from pathlib import Path
from pipeline.manifest import Manifest
from pipeline.run import run_job
from schemas.job import RunSpec
from tests.pipeline.faulty_stages import faulty_job
from tests.pipeline.toy_jobs import Silent
try:
    run_job(faulty_job(Path(sys.argv[1]), Path(sys.argv[2]), RunSpec(workers=1)), Silent())
except KeyboardInterrupt:
    os._exit(130)  # as the installed command does
"""
CLUSTER = """
import os, sys
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from pipeline.heartbeat import read_heartbeats
from pipeline.manifest import Manifest
from pipeline.run import run_job
from schemas.job import RunSpec
from tests.pipeline.faulty_stages import faulty_job
from tests.pipeline.toy_jobs import Silent

inputs, out = Path(sys.argv[1]), Path(sys.argv[2])
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
ray.init(address=cluster.address, log_to_driver=False)

class Losing(Silent):
    def tick(self):
        if nodes and any(beat.stage == "decode" for beat in read_heartbeats(out)):
            for node in nodes:
                cluster.remove_node(node, allow_graceful=False)
            nodes.clear()
            (inputs / "go").write_text("")
            cluster.add_node(num_cpus=1)

run_job(faulty_job(inputs, out, RunSpec(workers=1, max_attempts=1)), Losing())
ray.shutdown()
cluster.shutdown()
os._exit(0)  # as the installed command does
"""


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[str] | None" = None) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None, process.communicate()[1]
        time.sleep(0.1)


def run_script(script: str, inputs: Path, out: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", script, str(inputs), str(out)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.usefixtures("ray_of_two_cpus")
def test_a_killed_driver_is_seen_and_held_against_no_input(tmp_path: Path) -> None:
    inputs = write_words(tmp_path / "in", {"a": "good", "b": "wait"})
    out = tmp_path / "out"
    driver = run_script(DRIVER, inputs, out)

    def waits() -> bool:
        return any(b.stage == "decode" and b.seconds() > 1 for b in read_heartbeats(out))

    wait_for(waits, driver)
    (worker,) = status_of(out).workers
    assert (worker.state, worker.stage, worker.inputs) == ("working", "decode", 1)
    assert f"worker cpu-1 (process {worker.pid} on " in status_of(out).to_text()
    assert json.loads(status_of(out).to_json())["workers"][0]["unit"] == worker.unit
    driver.kill()
    driver.communicate()
    wait_for(lambda: [found.state for found in status_of(out).workers] == ["gone"])
    (inputs / "go").write_text("")
    # One strike would be the end of it.
    run_job(faulty_job(inputs, out, RunSpec(workers=1, max_attempts=1)), Silent())
    status = status_of(out)
    assert (status.done, status.failed, status.pending, status.workers) == (2, 0, 0, ())


def test_a_driver_that_is_asked_to_go_leaves_in_good_order(tmp_path: Path) -> None:
    inputs, out = write_words(tmp_path / "in", {"a": "wait"}), tmp_path / "out"
    driver = run_script(DRIVER, inputs, out)
    wait_for(lambda: any(beat.stage == "decode" for beat in read_heartbeats(out)), driver)
    driver.terminate()
    driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert status_of(out).workers == ()
    assert [row["ending"] for row in Manifest(out).table("runs").to_pylist()] == ["interrupted"]
    ledger = next((out / "attempts").iterdir()).read_text()
    assert ledger.endswith('{"closed": true}\n')


def test_a_lost_node_is_held_against_no_input(tmp_path: Path) -> None:
    inputs = write_words(tmp_path / "in", {"a": "wait"})
    out = tmp_path / "out"
    driver = run_script(CLUSTER, inputs, out)
    said = driver.communicate(timeout=240)[1]
    assert driver.returncode == 0, said
    status = status_of(out)
    assert (status.done, status.failed) == (1, 0)
    ledger = next((out / "attempts").iterdir()).read_text()
    assert '"lost"' in ledger
    assert '"strike"' not in ledger
