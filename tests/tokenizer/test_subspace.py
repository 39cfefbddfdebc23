"""`tokenizer/subspace.py`: directions that codebooks are confined to."""

import torch
from torch import Tensor

from tokenizer.codebook_learning import LearningSpec
from tokenizer.quantizer import ResidualQuantizer
from tokenizer.subspace import Subspace

WIDTH, CLIPS, FRAMES = 12, 20, 30


def voices(seed: int, spread: float = 4.0) -> Tensor:
    """Clips that differ in directions 4-7 and move in directions 0-3, `[CLIPS * FRAMES, WIDTH]`."""
    random = torch.Generator().manual_seed(seed)
    rows = torch.randn(CLIPS, FRAMES, WIDTH, generator=random) * 0.1
    rows[:, :, :4] += torch.randn(CLIPS, FRAMES, 4, generator=random)
    rows[:, :, 4:8] += torch.randn(CLIPS, 1, 4, generator=random) * spread
    return rows.flatten(0, 1)


def rank(entries: Tensor) -> int:
    return int(torch.linalg.matrix_rank(entries - entries.mean(dim=0), rtol=1e-4))


def test_it_holds_what_moves_inside_clips_and_not_what_tells_them_apart() -> None:
    rows = voices(0)
    subspace = Subspace.inside_clips(rows, [FRAMES] * CLIPS, 4)
    moved = subspace.project(rows) - rows.mean(dim=0)
    assert moved[:, :4].var() > 0.9 * rows[:, :4].var()
    assert moved[:, 4:].var() < 0.01 * rows[:, 4:8].var()
    again = subspace.project(moved + subspace.centre) - subspace.centre
    assert torch.allclose(again, moved, atol=1e-4)


def test_confined_codebooks_stay_confined_while_entries_move_and_are_replaced() -> None:
    spec = LearningSpec(dead_code_threshold=4.0, dims=(4, 2))  # far above what most are used
    quantizer = ResidualQuantizer((64, 64, 8), WIDTH).train()
    random = torch.Generator().manual_seed(0)
    quantizer.initialise(voices(0), spec, random, lengths=[FRAMES] * CLIPS)
    before = quantizer.codebooks[0].embed.clone()
    for step in range(1, 30):
        learned = quantizer.learn(voices(step), spec, random=random)
    assert [rank(codebook.embed) for codebook in quantizer.codebooks[:2]] == [4, 2]
    assert not torch.allclose(before, quantizer.codebooks[0].embed, atol=0.1)
    assert len(learned.confined) == 2
    assert [rank(seen.detach()) for seen in learned.confined] == [4, 2]


def test_a_confined_codebook_goes_along_when_the_encoder_moves_aside() -> None:
    spec = LearningSpec(dead_code_threshold=0.0, decay=0.8, dims=(4,))
    quantizer = ResidualQuantizer((64,), WIDTH).train()
    quantizer.initialise(voices(0), spec, lengths=[FRAMES] * CLIPS)
    aside = torch.zeros(WIDTH)
    aside[-1] = 10.0  # across all directions in which clips move
    for step in range(1, 30):
        quantizer.learn(voices(step) + aside, spec)
    entries = quantizer.codebooks[0].embed
    assert entries[:, -1].mean() > 9.0
    assert rank(entries) == 4


def test_what_confined_codebooks_leave_is_held_by_the_commitment_too() -> None:
    spec = LearningSpec(dead_code_threshold=0.0, dims=(2,))
    quantizer = ResidualQuantizer((16, 16), WIDTH).eval()
    rows = voices(0).requires_grad_(True)
    quantizer.initialise(rows.detach(), spec, lengths=[FRAMES] * CLIPS)
    quantizer.learn(rows, spec).commitment_loss.backward()
    assert rows.grad is not None
    assert rows.grad[:, 4:8].abs().max() > 1e-4


def test_strangers_use_more_of_a_confined_codebook() -> None:
    """Entries over all directions belong to the voices that were heard."""
    share = {}
    for dims in ((), (3,)):
        spec = LearningSpec(dead_code_threshold=0.0, dims=dims)
        quantizer = ResidualQuantizer((128,), WIDTH)
        random = torch.Generator().manual_seed(0)
        quantizer.initialise(voices(0), spec, random, lengths=[FRAMES] * CLIPS)
        used = quantizer.encode(voices(1), 1).unique()
        share[dims] = len(used) / 128
    assert share[()] < 0.7
    assert share[(3,)] > 0.9
