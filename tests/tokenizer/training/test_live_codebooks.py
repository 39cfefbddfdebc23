"""Codebooks that live, where those of the published training step die."""

import pytest
import torch

from tokenizer.codebook_learning import LearningSpec
from tokenizer.quantizer import ResidualQuantizer
from tokenizer.training.book_use import BookUse

SIZE, WIDTH, ROWS, STEPS = 128, 16, 512, 400
OURS = LearningSpec(dead_code_threshold=2.0)
PUBLISHED = LearningSpec(dead_code_threshold=2.0, keep_replacements=False, start_from_sums=False)


def share_in_use(spec: LearningSpec) -> float:
    """Of one codebook, after training on features that drift as an untrained encoder's do."""
    random = torch.Generator().manual_seed(0)
    quantizer = ResidualQuantizer([SIZE], WIDTH).train()
    use = BookUse([SIZE])
    centres, drift = (torch.randn(8, WIDTH, generator=random) for _ in range(2))
    for step in range(STEPS):
        picks = torch.randint(8, (ROWS,), generator=random)
        noise = torch.randn(ROWS, WIDTH, generator=random)
        rows = centres[picks] + drift[picks] * step / 200 + noise
        learned = quantizer.learn(rows, spec, random=random)
        if step >= STEPS - 10:
            use.add(learned.codes)
    return use.figures()["use/0"]


@pytest.mark.parametrize(("spec", "least", "most"), [(OURS, 0.95, 1.0), (PUBLISHED, 0.0, 0.5)])
def test_nearly_all_entries_stay_in_use_and_in_the_published_step_most_die(
    spec: LearningSpec, least: float, most: float
) -> None:
    """Seen: 127 of 128 against 43."""
    assert least <= share_in_use(spec) <= most
