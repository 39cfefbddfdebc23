"""Fixtures that many rooms share."""

import os
import signal
from collections.abc import Iterator

import pytest

from pipeline.quiet import QUIET_ENVIRONMENT

os.environ.update(QUIET_ENVIRONMENT)  # tests open engines by themselves: none of them phones home
# A shell that runs the suite in the background has it ignore Ctrl-C, and so would the commands
# that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def ray_of_two_cpus() -> Iterator[None]:
    """A real Ray that the tests of a session share, because starting one takes ten seconds."""
    import ray

    from pipeline.ray_cluster import start_ray

    start_ray(num_cpus=2, num_gpus=0)
    yield
    ray.shutdown()
