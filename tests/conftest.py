"""Fixtures that many rooms share."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def ray_of_two_cpus() -> Iterator[None]:
    """A real Ray that the tests of a session share, because starting one takes ten seconds."""
    import ray

    from pipeline.ray_cluster import start_ray

    start_ray(num_cpus=2, num_gpus=0)
    yield
    ray.shutdown()
