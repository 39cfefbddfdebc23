"""SIGKILL of the driver of a job whose output is on an object store, and again, until it is done.

The store is a real server on the loopback. What is compared at the end is fetched from it anew, so
that nothing in the working copy of those that were killed can stand in for it.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.faults.drivers import kill_drivers
from benchmarks.faults.family import CLUSTER_CPUS, Asked, Report
from benchmarks.toy_job import toy_cluster
from tests.pipeline.s3_server import s3_server

LONG_KILLS, SHORT_KILLS = 10, 2
CACHE = "XDG_CACHE_HOME"


def run(asked: Asked) -> Report:
    """Kills, then compares, as on a disk."""
    kills = LONG_KILLS if asked.is_long else SHORT_KILLS
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # the server tells of every request
    # A Ray of its own: processes know of the store by the environment that they started in.
    with (
        s3_server() as bucket,
        _cache(asked.folder / "of-the-killed"),
        toy_cluster(CLUSTER_CPUS) as cluster,
        _cache(asked.folder / "fetched-anew"),
    ):
        return kill_drivers(asked, kills, cluster, lambda number: f"{bucket}/out-{number}")


@contextmanager
def _cache(folder: Path) -> Iterator[None]:
    """Working copies lie there, for this process and those that are started in the block."""
    before = os.environ.get(CACHE)
    os.environ[CACHE] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[CACHE]
        else:
            os.environ[CACHE] = before
