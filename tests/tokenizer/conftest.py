"""What every test of the tokenizer shares."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tokenizer import Tokenizer, small_tokenizer

TINY = Path(__file__).parents[1] / "parity" / "golden" / "tokenizer-tiny"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small products gain nothing from a second thread, and lose much where cores are shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny_folder() -> Path:
    """A checkpoint of the released structure with 20 small codebooks."""
    return TINY


@pytest.fixture(scope="session")
def tiny() -> Tokenizer:
    return Tokenizer.from_pretrained(TINY)


@pytest.fixture(scope="session")
def small() -> Tokenizer:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    made = small_tokenizer(seed=0)
    torch.set_num_threads(threads)
    return made
