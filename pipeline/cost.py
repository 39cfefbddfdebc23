"""What a run cost: the core and GPU hours that its pools held, at the spec's prices."""

from collections.abc import Iterable

from pipeline.fit import Pool
from schemas.job import CostSpec


def cost_of(pools: Iterable[Pool], wall_s: float, prices: CostSpec) -> float:
    """Price of holding the pools for `wall_s` seconds, idle or not, as a cluster is billed."""
    hours = wall_s / 3600
    return sum(
        pool.size * hours * (pool.num_cpus * prices.cpu_core_hour + pool.num_gpus * prices.gpu_hour)
        for pool in pools
    )
