"""Several sources in one order, so that each has its share of the tokens at every moment.

The next sequence comes from the source that has had the fewest tokens for its weight, the first of
them where several have. That orders all sequences by `tokens before it / weight`, so the n-th can
be found by a search instead of by going through n; all of it in whole numbers.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import lcm
from typing import Protocol


class Counting(Protocol):
    """What the mixture asks of a source's stream."""

    num_sequences: int
    num_tokens: int

    def tokens_before(self, number: int) -> int: ...
    def num_before(self, tokens: int) -> int: ...


class Mixture:
    """Endless streams by weight: at any place, two sources differ in tokens for their weight by no
    more than a sequence's."""

    def __init__(self, streams: Sequence[Counting], weights: Sequence[Fraction]) -> None:
        whole = lcm(*(weight.denominator for weight in weights))
        self._shares = [int(weight * whole) for weight in weights]
        self._streams = streams
        self._finest = max(self._shares)
        """Thresholds are counted so finely that no source passes two sequences between two."""
        self._last: tuple[int, tuple[int, ...]] = (0, (0,) * len(streams))

    def walk(self, first: int, count: int) -> Iterator[tuple[int, int]]:
        """Source and number in its stream, of the sequences from `first` on."""
        if len(self._streams) == 1:
            yield from ((0, first + n) for n in range(count))
            return
        numbers = list(self.numbers(first))
        tokens = [s.tokens_before(n) for s, n in zip(self._streams, numbers, strict=True)]
        for _ in range(count):
            source = self._next(tokens)
            yield source, numbers[source]
            numbers[source] += 1
            tokens[source] = self._streams[source].tokens_before(numbers[source])
        self._last = (first + count, tuple(numbers))

    def numbers(self, place: int) -> tuple[int, ...]:
        """How many sequences of each source come before `place`."""
        if len(self._streams) == 1:
            return (place,)
        if self._last[0] == place:
            return self._last[1]
        threshold = self._threshold(place)
        numbers = self._before(threshold)
        # At most one of each source lies between this threshold and the next.
        tokens = [s.tokens_before(n) for s, n in zip(self._streams, numbers, strict=True)]
        while sum(numbers) < place:
            source = self._next(tokens)
            numbers[source] += 1
            tokens[source] = self._streams[source].tokens_before(numbers[source])
        return tuple(numbers)

    def _threshold(self, place: int) -> int:
        """The largest with no more than `place` sequences below it."""
        pace = sum(
            Fraction(share * stream.num_sequences, stream.num_tokens)
            for share, stream in zip(self._shares, self._streams, strict=True)
        )
        guess = int(place * self._finest / pace)
        step = 1 << 20
        low = guess
        while low > 0 and sum(self._before(low)) > place:
            low, step = low - step, step * 2
        low, high, step = max(low, 0), guess + 1, 1 << 20
        while sum(self._before(high)) <= place:
            high, step = high + step, step * 2
        while high - low > 1:
            middle = (low + high) // 2
            if sum(self._before(middle)) <= place:
                low = middle
            else:
                high = middle
        return low

    def _before(self, threshold: int) -> list[int]:
        return [
            stream.num_before(-(-threshold * share // self._finest))
            for share, stream in zip(self._shares, self._streams, strict=True)
        ]

    def _next(self, tokens: Sequence[int]) -> int:
        return min(
            range(len(tokens)), key=lambda source: Fraction(tokens[source], self._shares[source])
        )
