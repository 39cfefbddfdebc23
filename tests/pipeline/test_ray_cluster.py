"""A Ray that does not come up is one line."""

import subprocess
import sys

from benchmarks.machine import ROOT

# In a process of its own: a Ray that is being started takes a new token, and those of the tests
# beside this one would not be answered any more.
START = """
import ray
from pipeline.ray_cluster import start_ray
from schemas.errors import PlanError
def never(**options):
    raise Exception("The current node timed out during startup.\\nLogs are in /tmp/ray.")
ray.init = never
try:
    start_ray(num_cpus=1, num_gpus=0)
except PlanError as error:
    print(error)
"""


def test_a_node_that_does_not_come_up_in_time_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", START], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "timed out during startup. Logs are in" in done.stdout
    assert "run the same command again" in done.stdout
    assert done.stdout.count("\n") == 1
