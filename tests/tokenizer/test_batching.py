"""`tokenizer/batching.py`: what is encoded together."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from tokenizer.batching import Segment, by_budget, packs_by_clip, packs_of


def make_segments(hops: list[int], clips: list[int] | None = None) -> list[Segment]:
    owners = clips or list(range(len(hops)))
    return [
        Segment(clip=clip, part=part, mel=torch.zeros(count, 1))
        for part, (clip, count) in enumerate(zip(owners, hops, strict=True))
    ]


@given(st.lists(st.integers(1, 100), max_size=30), st.integers(1, 200))
def test_runs_keep_the_order_and_the_budget(sizes: list[int], budget: int) -> None:
    runs = list(by_budget(sizes, lambda size: size, budget))
    assert [size for run in runs for size in run] == sizes
    assert all(sum(run) <= budget or len(run) == 1 for run in runs)
    assert all(runs)


@given(st.lists(st.integers(1, 100), min_size=1, max_size=30))
def test_packs_hold_every_segment_once_and_begin_with_the_longest(hops: list[int]) -> None:
    packs = packs_of(make_segments(hops), hops_per_pack=120)
    found = [segment for pack in packs for segment in pack]
    assert sorted(segment.part for segment in found) == list(range(len(hops)))
    assert [segment.num_hops for segment in found] == sorted(hops, reverse=True)


def test_a_pack_of_one_clip_has_no_other_and_keeps_the_order() -> None:
    packs = packs_by_clip(make_segments([5, 5, 3, 5, 2], [0, 0, 0, 1, 1]), hops_per_pack=10)
    assert [[(s.clip, s.part) for s in pack] for pack in packs] == [
        [(0, 0), (0, 1)],
        [(0, 2)],
        [(1, 3), (1, 4)],
    ]
