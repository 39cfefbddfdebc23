"""`model/cache.py`: rows of unequal length in memory of fixed size."""

import pytest
import torch

from model.cache import KVCache
from model.small import small_spec
from schemas.errors import ModelError


@pytest.fixture
def cache() -> KVCache:
    return KVCache(
        small_spec().backbone,
        batch_size=2,
        capacity=100,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


def test_rows_grow_by_their_own_counts(cache: KVCache) -> None:
    assert cache.positions(2).tolist() == [[0, 1], [0, 1]]
    cache.advance([3, 1])
    assert cache.lengths == [3, 1]
    assert cache.lengths_B.tolist() == [3, 1]
    assert cache.positions(2).tolist() == [[3, 4], [1, 2]]
    cache.advance([1, 1])
    assert (cache.longest, cache.lengths) == (4, [4, 2])
    cache.clear()
    assert cache.lengths_B.tolist() == [0, 0]


def test_each_row_is_written_at_its_own_place(cache: KVCache) -> None:
    spec = small_spec().backbone
    cache.advance([3, 1])
    new = torch.arange(2.0).view(2, 1, 1, 1) + 1.0
    new = new.expand(2, 1, spec.num_kv_heads, spec.head_width)
    keys, values = cache.write(2, new, -new, cache.positions(1), cache.extent(1))
    assert keys.shape == (2, spec.num_kv_heads, 64, spec.head_width)
    assert keys[:, 0, :5, 0].tolist() == [[0, 0, 0, 1, 0], [0, 2, 0, 0, 0]]
    assert torch.equal(values, -keys)


def test_extents_change_seldom_and_end_with_the_capacity(cache: KVCache) -> None:
    found = []
    for _ in range(100):
        found.append(cache.extent(1))
        cache.advance([1, 0])
    assert sorted(set(found)) == [64, 100]


def test_what_does_not_fit_is_refused(cache: KVCache) -> None:
    cache.advance([99, 0])
    cache.positions(1)
    with pytest.raises(ModelError, match="a cache of 100 positions holds 99, 2 more do not fit"):
        cache.positions(2)
