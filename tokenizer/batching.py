"""What is encoded together: windows of clips, cut into segments, gathered into packs."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A part of one clip's mel that is encoded by itself."""

    clip: int
    part: int
    mel: Tensor
    """Hops `[F, M]`."""

    @property
    def num_hops(self) -> int:
        return self.mel.shape[0]


def by_budget(
    items: Iterable[Item], size: Callable[[Item], int], budget: int
) -> Iterator[list[Item]]:
    """Runs of items, in order, whose sizes add up to `budget` at most; a larger one is alone."""
    run: list[Item] = []
    used = 0
    for item in items:
        if run and used + size(item) > budget:
            yield run
            run, used = [], 0
        run.append(item)
        used += size(item)
    if run:
        yield run


def packs_of(segments: Iterable[Segment], hops_per_pack: int) -> list[list[Segment]]:
    """Packs of segments of any clips, the longest first, so that the last ones end together."""
    longest_first = sorted(segments, key=lambda segment: -segment.num_hops)
    return list(by_budget(longest_first, lambda segment: segment.num_hops, hops_per_pack))


def packs_by_clip(segments: Iterable[Segment], hops_per_pack: int) -> list[list[Segment]]:
    """Packs in which every segment is of the same clip, in order."""
    clips: dict[int, list[Segment]] = {}
    for segment in segments:
        clips.setdefault(segment.clip, []).append(segment)
    return [
        pack
        for clip in clips.values()
        for pack in by_budget(clip, lambda segment: segment.num_hops, hops_per_pack)
    ]
