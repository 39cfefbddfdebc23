"""`model/cache.py`: rows of unequal length in memory of fixed size."""

import pytest
import torch

from model.cache import KVCache
from model.documents import Documents
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


def entries(batch: int, count: int = 1) -> torch.Tensor:
    """`[batch * count, H, E]`: 1, 2, 3, ..."""
    spec = small_spec().backbone
    values = torch.arange(1.0, batch * count + 1).view(-1, 1, 1)
    return values.expand(batch * count, spec.num_kv_heads, spec.head_width)


def test_rows_grow_by_their_own_counts(cache: KVCache) -> None:
    assert (cache.lengths, cache.common) == ([0, 0], 0)
    cache.advance([3, 1])
    assert (cache.lengths, cache.common) == ([3, 1], None)
    assert cache.lengths_B.tolist() == [3, 1]
    cache.advance([1, 3])
    assert (cache.longest, cache.lengths, cache.common) == (4, [4, 4], 4)
    cache.clear()
    assert cache.lengths_B.tolist() == [0, 0]


def test_each_row_is_written_at_its_own_place(cache: KVCache) -> None:
    spec = small_spec().backbone
    cache.advance([3, 1])
    new = entries(2)
    keys, values = cache.write(2, new, -new, cache.lengths_B, cache.extent)
    assert keys.shape == (2, spec.num_kv_heads, 64, spec.head_width)
    assert keys[:, 0, :5, 0].tolist() == [[0, 0, 0, 1, 0], [0, 2, 0, 0, 0]]
    assert torch.equal(values, -keys)


def test_rows_of_one_length_are_written_side_by_side(cache: KVCache) -> None:
    cache.advance([3, 3])
    new = entries(2)
    keys, values = cache.write(1, new, -new, None, 4)
    assert keys[:, 1, :, 5].tolist() == [[0, 0, 0, 1], [0, 0, 0, 2]]
    assert torch.equal(values, -keys)


def test_each_row_goes_on_with_its_document(cache: KVCache) -> None:
    cache.advance([0, 2])
    new = entries(1, 5)
    (first, _), (second, values) = cache.write_documents(0, new, -new, Documents((3, 2)))
    assert first[0, :, 0].tolist() == [1, 2, 3]
    assert second[1, :, 3].tolist() == [0, 0, 4, 5]
    assert torch.equal(values, -second)


def test_a_finished_row_gives_its_place_to_the_last(cache: KVCache) -> None:
    cache.advance([1, 3])
    cache.write(0, entries(2), entries(2), cache.lengths_B, cache.extent)
    cache.advance([1, 1])
    cache.drop(0)
    assert (cache.lengths, cache.lengths_B.tolist(), cache.common) == ([4], [4], 4)
    keys, _ = cache.write(0, entries(1), entries(1), None, 5)
    assert keys[0, 0, :, 0].tolist() == [0, 0, 0, 2, 1]


def test_extents_change_seldom_and_end_with_the_capacity(cache: KVCache) -> None:
    found = []
    for _ in range(100):
        found.append(cache.extent)
        cache.advance([1, 0])
    assert sorted(set(found)) == [64, 100]


def test_what_does_not_fit_is_refused(cache: KVCache) -> None:
    cache.advance([99, 0])
    cache.make_room([1, 100])
    with pytest.raises(ModelError, match="a cache of 100 positions holds 99, 2 more do not fit"):
        cache.make_room([2, 2])
    with pytest.raises(ModelError, match="3 rows for a cache of 2"):
        cache.make_room([1, 1, 1])
