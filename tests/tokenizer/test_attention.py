"""`tokenizer/attention.py`: attention inside clips, rotary positions."""

import pytest
import torch
from torch import Tensor

from tokenizer.attention import Rope, attend, kernel_for, rotate
from tokenizer.packing import Pack, Tiling
from tokenizer.tiling import APART, SIZES

CPU = torch.device("cpu")
WINDOWS = [(-1, -1), (-1, 0), (40, 10), (3, -1), (-1, 5), (0, 0)]


def plain(qkv: list[Tensor], window: tuple[int, int]) -> Tensor:
    """Attention as the formula says it, one clip, `[L, H, E]`, in float64."""
    q, k, v = (part.double() for part in qkv)
    scores = torch.einsum("ihe,jhe->hij", q, k) / q.shape[-1] ** 0.5
    distance = torch.arange(len(k)) - torch.arange(len(q))[:, None]
    left, right = window
    hidden = torch.zeros_like(distance, dtype=torch.bool)
    if left >= 0:
        hidden |= distance < -left
    if right >= 0:
        hidden |= distance > right
    return torch.einsum("hij,jhe->ihe", scores.masked_fill(hidden, -torch.inf).softmax(-1), v)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("tiling", [None, Tiling(sizes=SIZES), APART])
def test_each_clip_attends_to_itself_within_the_window(
    window: tuple[int, int], tiling: Tiling | None
) -> None:
    torch.manual_seed(0)
    pack = Pack.of([1, 30, 600, 257], CPU, tiling)
    q, k, v = (torch.randn(pack.num_rows, 2, 8) for _ in range(3))
    found = attend(q, k, v, pack, window)
    for index in range(len(pack.lengths)):
        wanted = plain([pack.of_clip(part, index) for part in (q, k, v)], window)
        torch.testing.assert_close(pack.of_clip(found, index), wanted.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("window", WINDOWS)
def test_a_clips_result_is_the_same_to_the_bit_behind_any_other_clip(
    window: tuple[int, int],
) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(300, 2, 32) for _ in range(3))
    alone = attend(q, k, v, Pack.of([300], CPU, None), window)
    for other in (1, 7, 450):
        pack = Pack.of([other, 300], CPU, None)
        before = torch.randn(3, other, 2, 32)
        more_q, more_k, more_v = (
            torch.cat([extra, part]) for extra, part in zip(before, (q, k, v), strict=True)
        )
        together = attend(more_q, more_k, more_v, pack, window)
        assert torch.equal(pack.of_clip(together, 1), alone)


def test_rotated_products_depend_on_the_distance_alone() -> None:
    torch.manual_seed(0)
    cos, sin = Rope(16, 10_000.0).of(Pack.of([500], CPU, None), torch.float32)
    q, k = torch.randn(1, 1, 16).expand(500, 1, 16), torch.randn(1, 1, 16).expand(500, 1, 16)
    scores = (rotate(q, cos, sin)[:, 0] @ rotate(k, cos, sin)[:, 0].T).double()
    for distance in (0, 3, 100):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-3)
    assert float((scores[0, 0] - scores[0, 3]).abs()) > 1e-2


def test_rotary_tables_have_the_same_bits_however_long_the_longest_clip_is() -> None:
    short = Rope(64, 10_000.0).of(Pack.of([37], CPU, None), torch.float32)
    long = Rope(64, 10_000.0).of(Pack.of([37, 5000], CPU, None), torch.float32)
    for few, many in zip(short, long, strict=True):
        assert torch.equal(few, many[:37])


def test_a_cpu_is_served_by_sdpa() -> None:
    assert kernel_for("cpu", torch.bfloat16, 64) == "sdpa"
    assert kernel_for("cuda", torch.float32, 64) == "sdpa"


@pytest.mark.gpu
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("head_width", [16, 64])
def test_the_kernel_for_packed_sequences_agrees_with_the_formula(
    window: tuple[int, int], head_width: int
) -> None:
    device = torch.device("cuda")
    assert kernel_for("cuda", torch.bfloat16, head_width) in ("flash-attn", "varlen")
    pack = Pack.of([1, 30, 600, 257], device, None)
    q, k, v = (
        torch.randn(pack.num_rows, 4, head_width, device=device).bfloat16() for _ in range(3)
    )
    found = attend(q, k, v, pack, window)
    for index in range(len(pack.lengths)):
        wanted = plain([pack.of_clip(part, index).cpu() for part in (q, k, v)], window)
        torch.testing.assert_close(
            pack.of_clip(found, index).cpu().double(), wanted, rtol=2e-2, atol=2e-2
        )
