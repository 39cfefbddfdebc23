"""Mixtures: each source has its share of the tokens at every moment, found without going there."""

from bisect import bisect_left
from collections import Counter
from fractions import Fraction
from itertools import accumulate, islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.loader.mixture import Mixture
from tests.model.loader.loaders import CONTEXT, loader, source, steps


class MadeStream:
    """A stream whose sequences use as many tokens as it is told, over and over."""

    def __init__(self, tokens: list[int]) -> None:
        self.num_sequences, self.num_tokens = len(tokens), sum(tokens)
        self._before = [0, *accumulate(tokens)][:-1]

    def tokens_before(self, number: int) -> int:
        epoch, place = divmod(number, self.num_sequences)
        return epoch * self.num_tokens + self._before[place]

    def num_before(self, tokens: int) -> int:
        if tokens <= 0:
            return 0
        epoch, rest = divmod(tokens - 1, self.num_tokens)
        return epoch * self.num_sequences + bisect_left(self._before, rest + 1)


streams = st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=6), min_size=1, max_size=4)
weights = st.integers(1, 1000).map(lambda n: Fraction(n, 100))


@settings(deadline=None)
@given(streams, st.data(), st.integers(0, 400))
def test_the_order_can_be_entered_anywhere(
    tokens: list[list[int]], data: st.DataObject, place: int
) -> None:
    of_each = [data.draw(weights) for _ in tokens]
    made = [MadeStream(each) for each in tokens]
    walked = list(Mixture(made, of_each).walk(0, place + 5))
    assert list(Mixture(made, of_each).walk(place, 5)) == walked[place:]
    gone = Counter(which for which, _ in walked[:place])
    assert Mixture(made, of_each).numbers(place) == tuple(gone[n] for n in range(len(tokens)))


@settings(deadline=None)
@given(streams, st.data())
def test_no_source_is_ahead_of_its_share_by_more_than_a_sequence(
    tokens: list[list[int]], data: st.DataObject
) -> None:
    of_each = [data.draw(weights) for _ in tokens]
    made = [MadeStream(each) for each in tokens]
    reach = [Fraction(max(each)) / weight for each, weight in zip(tokens, of_each, strict=True)]
    had = [Fraction(0)] * len(tokens)
    for which, number in islice(Mixture(made, of_each).walk(0, 150), 150):
        begins = Fraction(made[which].tokens_before(number)) / of_each[which]
        assert begins == had[which] == min(had)
        had[which] = Fraction(made[which].tokens_before(number + 1)) / of_each[which]
        assert max(had) - min(had) <= max(reach)


def test_two_outputs_are_mixed_by_tokens_and_go_on_from_anywhere(
    output: Path, other_output: Path, cache_folder: Path
) -> None:
    sources = (source(output, 0.7), source(other_output, 0.3))
    found = loader(*sources, cache_folder=cache_folder)
    used = [0, 0]
    for step in range(30):
        for sequence in found.batch(step).sequences:
            used[sequence.source] += sequence.num_positions
        assert abs(used[0] / 0.7 - used[1] / 0.3) <= CONTEXT / 0.3
    assert used[0] / sum(used) == pytest.approx(0.7, abs=0.01)
    again = loader(*sources, cache_folder=cache_folder)
    assert steps(again, 17, 22, world_size=3) == steps(found, 17, 22)
    first = again.batch(100_000).sequences[0]
    assert first.number == 600_000
    assert first.epoch > 100
