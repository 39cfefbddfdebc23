"""`tokenizer/packing.py`: where rows lie and how they are cut."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from tokenizer.packing import Pack, Tiling, rowwise, taps, with_zero_row
from tokenizer.tiling import APART, SIZES

CPU = torch.device("cpu")
TILINGS = (None, Tiling(sizes=SIZES), Tiling(sizes=(256,)), APART)


@given(st.lists(st.integers(1, 700), min_size=1, max_size=12), st.sampled_from(TILINGS))
def test_clips_lie_apart_and_tiles_cover_every_row_once(
    lengths: list[int], tiling: Tiling | None
) -> None:
    pack = Pack.of(lengths, CPU, tiling)
    ends = [start + length for start, length in zip(pack.starts, pack.lengths, strict=True)]
    assert all(end <= start for end, start in zip(ends, pack.starts[1:], strict=False))
    assert ends[-1] <= pack.num_rows
    covered = [row for first, last in pack.tiles for row in range(first, last)]
    assert covered == list(range(pack.num_rows))
    if tiling is not None:
        assert {last - first for first, last in pack.tiles} <= set(tiling.sizes)
        assert all(start % tiling.align == 0 for start in pack.starts)
        assert pack.num_rows - ends[-1] < max(tiling.sizes[0], tiling.align)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=8), st.sampled_from(TILINGS))
def test_clips_come_back_as_they_went_in(lengths: list[int], tiling: Tiling | None) -> None:
    clips = [torch.randn(length, 3) for length in lengths]
    pack = Pack.of(lengths, CPU, tiling)
    rows = pack.gather(clips)
    assert rows.shape == (pack.num_rows, 3)
    for index, clip in enumerate(clips):
        assert torch.equal(pack.of_clip(rows, index), clip)
    assert float(rows.abs().sum()) == pytest.approx(
        sum(float(clip.abs().sum()) for clip in clips), rel=1e-4
    )


def test_positions_restart_with_every_clip() -> None:
    pack = Pack.of([3, 2], CPU, Tiling(sizes=(4,), align=4))
    assert pack.positions.tolist() == [0, 1, 2, 0, 0, 1, 0, 0]
    assert Pack.of([3, 2], CPU, None).cumulative.tolist() == [0, 3, 5]


def test_work_by_tiles_equals_work_at_once_and_may_write_over_its_input() -> None:
    pack = Pack.of([100, 333], CPU, Tiling(sizes=SIZES))
    rows = torch.randn(pack.num_rows, 5)
    seen: list[int] = []

    def double(part: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(part.shape[0])
        return part * 2, part + 1

    doubled, more = rowwise(double, pack, rows)
    assert torch.equal(doubled, rows * 2)
    assert torch.equal(more, rows + 1)
    assert seen == [last - first for first, last in pack.tiles]
    wanted = rows * 3
    (written,) = rowwise(lambda part: (part * 3,), pack, rows, out=[rows])
    assert written is rows
    assert torch.equal(rows, wanted)


@pytest.mark.parametrize("tiling", TILINGS)
@pytest.mark.parametrize(("stride", "width", "first"), [(1, 3, -1), (2, 3, -1), (2, 2, 0)])
def test_gathered_rows_are_what_a_padded_convolution_reads(
    tiling: Tiling | None, stride: int, width: int, first: int
) -> None:
    lengths = [1, 2, 7, 64, 65]
    clips = [torch.randn(length, 4) for length in lengths]
    source = Pack.of(lengths, CPU, tiling)
    target = Pack.of([-(-length // stride) for length in lengths], CPU, tiling)
    plan = taps(source, target, stride=stride, width=width, first=first)
    read = with_zero_row(source.gather(clips))[plan]
    for index, clip in enumerate(clips):
        count = target.lengths[index]
        right = (count - 1) * stride + first + width - clip.shape[0]
        padded = functional.pad(clip, (0, 0, -first, max(0, right)))
        wanted = padded.unfold(0, width, stride).transpose(1, 2)[:count]
        assert torch.equal(target.of_clip(read, index), wanted)


def test_past_its_end_a_clip_may_repeat_its_last_row() -> None:
    source = Pack.of([3, 3], CPU, None)
    target = Pack.of([2, 2], CPU, None)
    plan = taps(source, target, stride=2, width=2, first=0, repeat_last=[True, False])
    assert plan.tolist() == [[0, 1], [2, 2], [3, 4], [5, 6]]
