"""`tokenizer/training/clip_information.py`: what neighbours tell of the clip."""

import pytest
import torch

from tokenizer.training.clip_information import clip_information

LENGTHS = [40, 60, 50, 50]


def rows(apart: float, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    clips = [torch.randn(length, 3, generator=random) for length in LENGTHS]
    return torch.cat([clip + apart * number for number, clip in enumerate(clips)])


def test_it_is_nothing_where_clips_mingle_and_their_entropy_where_they_lie_apart() -> None:
    shares = torch.tensor(LENGTHS) / sum(LENGTHS)
    entropy = -float((shares * shares.log()).sum())
    found = [float(clip_information(rows(apart), LENGTHS)) for apart in (0.0, 1.0, 3.0, 1000.0)]
    assert found == sorted(found)
    assert found[0] < 0.15 * entropy  # not zero: neighbours are few
    # A frame's own and near frames are no neighbours, so its clip's share is below its length's.
    assert entropy < found[-1] == pytest.approx(entropy, rel=0.15)


def test_shrinking_wins_nothing() -> None:
    whole = float(clip_information(rows(1.0), LENGTHS))
    assert float(clip_information(rows(1.0) * 1e-2, LENGTHS)) == pytest.approx(whole, rel=1e-2)


def test_descent_brings_clips_together_and_keeps_their_spread() -> None:
    moved = rows(2.0).requires_grad_(True)
    optimizer = torch.optim.Adam([moved], lr=0.02)
    first = float(clip_information(moved, LENGTHS).detach())
    for _ in range(100):
        optimizer.zero_grad()
        clip_information(moved, LENGTHS).backward()
        optimizer.step()
    assert torch.isfinite(moved).all()
    assert float(clip_information(moved, LENGTHS).detach()) < 0.3 * first
    assert moved.detach().std(dim=0).min() > 0.3


def test_frames_without_a_neighbour_do_not_count() -> None:
    for lengths in ([5], [3], [6]):
        lone = rows(0.0)[: sum(lengths)].requires_grad_(True)
        found = clip_information(lone, lengths)
        found.backward()
        assert float(found.detach()) == 0.0
        assert lone.grad is not None
        assert torch.isfinite(lone.grad).all()
