"""Shares, perplexities and bits, by hand."""

import numpy as np
import pytest

from tokenizer.evaluation.codebooks import CodebookUse, bitrate_kbps


def test_use_is_counted_over_all_that_was_added() -> None:
    use = CodebookUse([4, 8])
    use.add(np.array([[0, 7], [1, 7]], np.uint16))
    use.add(np.array([[1, 7], [0, 7]], np.uint16))
    assert use.shares == [0.5, 0.125]
    assert use.perplexities == pytest.approx([2.0, 1.0])


def test_every_entry_alike_has_the_size_as_perplexity() -> None:
    use = CodebookUse([16])
    use.add(np.arange(16, dtype=np.uint16)[:, None])
    assert use.shares == [1.0]
    assert use.perplexities == pytest.approx([16.0])


def test_nothing_added_is_nothing_used() -> None:
    use = CodebookUse([4])
    assert use.shares == [0.0]
    assert use.perplexities == [0.0]


def test_another_number_of_codebooks_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        CodebookUse([4, 4]).add(np.zeros((2, 3), np.uint16))


def test_eight_released_codebooks_cost_1550_bits_a_second() -> None:
    assert bitrate_kbps([1024, 1024, *[128] * 6], 25) == pytest.approx(1.55)
