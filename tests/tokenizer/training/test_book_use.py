"""`tokenizer/training/book_use.py`: figures of hand-made codes."""

import pytest
import torch

from tokenizer.codebook import Codebook
from tokenizer.training.book_use import BookUse, dead_entries


def test_use_and_perplexity_of_known_codes() -> None:
    use = BookUse([4, 2])
    use.add(torch.tensor([[0, 1], [1, 1]]))
    use.add(torch.tensor([[2, 1], [3, 1]]))
    figures = use.figures()
    assert figures["use/0"] == 1.0
    assert figures["perplexity/0"] == pytest.approx(4.0)
    assert figures["use/1"] == 0.5
    assert figures["perplexity/1"] == pytest.approx(1.0)
    use.clear()
    assert use.figures()["use/0"] == 0.0


def test_dead_entries_are_those_below_the_threshold() -> None:
    book = Codebook(5, 2)
    book.cluster_size.copy_(torch.tensor([0.0, 0.1, 0.2, 0.3, 9.0]))
    assert dead_entries([book], 0.2) == {"dead/0": 2.0}
