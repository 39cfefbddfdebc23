"""Packing and windows: every sample once, no sequence too long, the same number in every epoch."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.loader.order import seeded_order
from model.loader.packing import pack
from model.loader.windows import Counted, Window, cut

lengths_of_rows = st.lists(st.integers(0, 70), max_size=80)


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), max_size=120), st.integers(40, 400))
def test_every_sample_has_a_place_and_no_sequence_is_empty_or_too_long(
    lengths: list[int], context: int
) -> None:
    bin_of = pack(np.array(lengths, np.int64), context)
    used = np.bincount(bin_of, weights=lengths) if lengths else np.zeros(0)
    assert len(bin_of) == len(lengths)
    assert ((used > 0) & (used <= context)).all()
    # Best fit leaves at most one sequence half empty.
    assert (used * 2 <= context).sum() <= 1


@pytest.mark.parametrize(("context", "least"), [(800, 0.93), (8192, 0.98), (65_536, 0.95)])
def test_little_of_the_context_is_padding(context: int, least: float) -> None:
    lengths = np.random.default_rng(0).integers(75, 751, 4000)
    bin_of = pack(lengths, context)
    assert lengths.sum() / ((bin_of.max() + 1) * context) > least


@settings(deadline=None)
@given(lengths_of_rows, st.integers(1, 60), st.booleans())
def test_long_samples_are_cut_or_left_out_and_counted(
    lengths: list[int], context: int, can_be_cut: bool
) -> None:
    given_lengths = np.array(lengths, np.int64)
    pieces, counted = cut(given_lengths, context, can_be_cut)
    kept = {row: n for row, n in enumerate(lengths) if n and (can_be_cut or n <= context)}
    covered: Counter[int] = Counter()
    for row, first, length in zip(pieces.row, pieces.first, pieces.length, strict=True):
        assert first == covered[row]
        assert 0 < length <= context
        covered[row] += length
    assert covered == kept
    num_long = sum(n > context for n in lengths)
    assert counted == Counted(
        num_samples=len(kept),
        num_cut=num_long * can_be_cut,
        num_left_out=num_long * (not can_be_cut),
        num_none=lengths.count(0),
    )


@settings(deadline=None)
@given(lengths_of_rows, st.integers(1, 60))
def test_an_epoch_is_the_same_packing_in_another_order(lengths: list[int], context: int) -> None:
    pieces, _ = cut(np.array(lengths, np.int64), context, True)
    window = Window.packed(pieces, context, "key")
    wanted = Counter(zip(pieces.row.tolist(), pieces.first.tolist(), strict=True))
    for epoch in range(3):
        in_epoch = window.in_epoch("key", epoch)
        found: Counter[tuple[int, int]] = Counter()
        used = []
        for place in range(window.num_sequences):
            documents = in_epoch.sequence(place)
            found.update((row, first) for row, first, _ in documents)
            used.append(sum(length for _, _, length in documents))
        assert found == wanted
        assert max(used, default=0) <= context
        assert np.diff(in_epoch.tokens_before).tolist() == used


def test_epochs_put_samples_beside_others() -> None:
    pieces, _ = cut(np.full(60, 10), 50, True)
    window = Window.packed(pieces, 50, "key")
    beside = [
        {frozenset(row for row, _, _ in window.in_epoch(e).sequence(p)) for p in range(12)}
        for e in range(2)
    ]
    assert not beside[0] & beside[1]


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(0, 5))
def test_an_order_is_a_permutation_that_its_key_decides(count: int, key: int) -> None:
    order = seeded_order(count, "key", key)
    assert sorted(order.tolist()) == list(range(count))
    assert order.tolist() == seeded_order(count, "key", key).tolist()
    assert count < 20 or order.tolist() != seeded_order(count, "other", key).tolist()


def test_an_order_is_the_same_for_ever() -> None:
    assert seeded_order(8, "words", 1).tolist() == [4, 6, 7, 2, 3, 5, 1, 0]
