"""Ray itself: started on this machine, or joined where a cluster is."""

import logging
import os
import signal
import threading
from types import FrameType
from typing import Any

import ray

from pipeline.assemble import Job
from pipeline.fit import Cluster, fit, needs_of, this_machine
from pipeline.private_ray import check_guarded, private
from pipeline.quiet import ONE_THREAD, QUIET_ENVIRONMENT, RAY_ENVIRONMENT, WORKER_ENVIRONMENT
from schemas.errors import AudiomillError, PlanError


def connect(job: Job, address: str | None) -> Cluster:
    """Starts Ray on this machine, or joins the cluster at `address`; says what there is.

    A program that has started Ray by itself keeps its own: the job runs there.
    """
    os.environ.update(QUIET_ENVIRONMENT)
    logging.getLogger("ray").setLevel(logging.ERROR)
    if ray.is_initialized():
        return _cluster_found("the Ray of this program")
    if address:
        try:
            _init(address=address)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise PlanError(f"no Ray cluster answers at {address!r}: {error}") from error
        check_guarded(ray.get_runtime_context().gcs_address)
        return _cluster_found(f"cluster {address}")
    cluster = this_machine(wants_gpu="gpu" in needs_of(job))
    fit(job, cluster)  # refuse before Ray is started, not after
    start_ray(num_cpus=int(cluster.num_cpus), num_gpus=int(cluster.num_gpus))
    return cluster


def start_ray(num_cpus: int, num_gpus: int) -> None:
    """A Ray of this program's own, on this machine: private, and without a dashboard."""
    before = dict(os.environ)
    os.environ.update(WORKER_ENVIRONMENT | RAY_ENVIRONMENT)
    try:
        # "local": never join a cluster that somebody else's `ray start` left behind.
        with private():
            _init(address="local", num_cpus=num_cpus, num_gpus=num_gpus, include_dashboard=False)
    except AudiomillError:
        raise
    except Exception as error:  # Ray raises a bare one where its node does not come up in time
        raise PlanError(
            f"Ray did not start on this machine ({' '.join(str(error).split())[:300]}); it may be "
            "short of memory, or very busy: run the same command again"
        ) from error
    finally:
        # One thread per worker is the workers' rule, not the program's that started them.
        for name in ONE_THREAD:
            os.environ.pop(name)
        os.environ.update({name: value for name, value in before.items() if name in ONE_THREAD})


def _cluster_found(where: str) -> Cluster:
    found = ray.cluster_resources()
    memory_mb = int(found.get("memory", 0) / 2**20)
    return Cluster(found.get("CPU", 0), found.get("GPU", 0), memory_mb, where)


def _init(**options: Any) -> None:
    # What workers print is theirs; what matters comes back as verdicts and failures.
    ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    if threading.current_thread() is threading.main_thread():
        # Ray's own handler kills its daemons before anything else, and the run would not be
        # recorded; a machine that is taken away gives time for that, as Ctrl-C does.
        signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
