"""`tokenizer/quantizer.py`: levels of codebooks."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Barrier, local

import pytest
import torch
from torch import Tensor

from schemas.errors import TokenizerError
from tokenizer import codebook_learning
from tokenizer import together as processes
from tokenizer.codebook_learning import LearningSpec
from tokenizer.quantizer import ResidualQuantizer

SIZES = (32, 32, 8, 8, 8)
SPEC = LearningSpec(dead_code_threshold=2.0)


def make_rows(count: int = 400, width: int = 12, seed: int = 0) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def learnt(rows: Tensor, steps: int = 3) -> ResidualQuantizer:
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(SIZES, rows.shape[1]).train()
    for _ in range(steps):
        quantizer.learn(rows, SPEC)
    return quantizer.eval()


def test_fewer_codebooks_give_the_first_columns() -> None:
    rows = make_rows()
    quantizer = learnt(rows)
    whole = quantizer.encode(rows, 5)
    assert whole.shape == (400, 5)
    for count in (1, 3):
        assert torch.equal(quantizer.encode(rows, count), whole[:, :count])


def test_every_level_brings_the_sum_nearer() -> None:
    rows = make_rows()
    quantizer = learnt(rows)
    codes = quantizer.encode(rows, 5)
    errors = [
        float((quantizer.decode(codes[:, :count]) - rows).square().mean()) for count in range(1, 6)
    ]
    assert all(later < earlier for earlier, later in pairwise(errors))


def test_half_precision_input_is_quantised_in_float32() -> None:
    rows = make_rows()
    quantizer = learnt(rows)
    rounded = rows.bfloat16()
    assert torch.equal(quantizer.encode(rounded, 5), quantizer.encode(rounded.float(), 5))


def test_more_columns_than_codebooks_are_refused() -> None:
    quantizer = learnt(make_rows())
    with pytest.raises(TokenizerError, match="6 columns, wanted at most 5"):
        quantizer.decode(torch.zeros(3, 6, dtype=torch.int64))


def test_learning_sets_every_codebook_even_without_training_mode() -> None:
    quantizer = ResidualQuantizer(SIZES, 12).eval()
    quantizer.learn(make_rows(), SPEC)
    assert all(bool(book.inited) for book in quantizer.codebooks)
    before = [book.embed.clone() for book in quantizer.codebooks]
    quantizer.learn(make_rows(seed=1), SPEC)
    for book, embed in zip(quantizer.codebooks, before, strict=True):
        assert torch.equal(book.embed, embed)


def test_training_mode_moves_every_codebook() -> None:
    rows = make_rows()
    quantizer = learnt(rows).train()
    before = [book.embed.clone() for book in quantizer.codebooks]
    quantizer.learn(make_rows(seed=1), SPEC)
    for book, embed in zip(quantizer.codebooks, before, strict=True):
        assert not torch.equal(book.embed, embed)


def test_codes_and_vectors_of_a_step_are_those_before_it() -> None:
    rows = make_rows()
    quantizer = learnt(rows)
    codes = quantizer.encode(rows, 5)
    vectors = quantizer.decode(codes)
    step = quantizer.train().learn(rows, SPEC)
    assert torch.equal(step.codes, codes)
    torch.testing.assert_close(step.vectors, vectors, rtol=1e-4, atol=1e-5)


def test_gradients_pass_straight_through_and_the_loss_reaches_the_first_level_only() -> None:
    quantizer = learnt(make_rows())
    rows = make_rows(seed=2).requires_grad_()
    step = quantizer.learn(rows, SPEC)
    weights = torch.randn(step.vectors.shape)
    (straight,) = torch.autograd.grad((step.vectors * weights).sum(), rows, retain_graph=True)
    torch.testing.assert_close(straight, weights)
    (of_loss,) = torch.autograd.grad(step.commitment_loss, rows)
    first = quantizer.codebooks[0]
    wanted = 2 * (rows - first.lookup(step.codes[:, 0])).detach() / rows.numel() / len(SIZES)
    torch.testing.assert_close(of_loss, wanted)


def make_single() -> ResidualQuantizer:
    quantizer = ResidualQuantizer((4,), 12).train()
    (book,) = quantizer.codebooks
    book.embed.copy_(make_rows(4, seed=5))
    book.embed_avg.copy_(book.embed * 50)
    book.cluster_size.copy_(torch.tensor([50.0, 50.0, 50.0, 0.0]))
    book.inited.fill_(1.0)
    return quantizer


class TwoRanks:
    """Stands for a process group of two, with a thread for each process."""

    def __init__(self) -> None:
        self.meeting = Barrier(2, timeout=30)
        self.rank = local()
        self.brought: list[Tensor] = [torch.zeros(0), torch.zeros(0)]

    def exchange(self, tensor: Tensor) -> list[Tensor]:
        self.meeting.wait()
        self.brought[self.rank.number] = tensor.clone()
        self.meeting.wait()
        return list(self.brought)

    def all_reduce(self, tensor: Tensor) -> None:
        tensor.copy_(sum(self.exchange(tensor), start=torch.zeros(())))

    def broadcast(self, tensor: Tensor, src: int) -> None:
        tensor.copy_(self.exchange(tensor)[src])


@pytest.mark.parametrize("begun", [True, False])
def test_two_processes_learn_from_their_halves_together(
    monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    ranks, halves = TwoRanks(), make_rows().chunk(2)
    whole = make_single()
    both = [make_single(), make_single()]
    if not begun:
        for quantizer in both:
            quantizer.codebooks[0].inited.zero_()
    whole.learn(make_rows(), SPEC)
    for module in (codebook_learning, processes):
        monkeypatch.setattr(module, "are_together", lambda: True)
    monkeypatch.setattr(codebook_learning.distributed, "all_reduce", ranks.all_reduce)
    monkeypatch.setattr(codebook_learning.distributed, "broadcast", ranks.broadcast)

    def learn(number: int) -> None:
        ranks.rank.number = number
        both[number].learn(halves[number], SPEC)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(learn, range(2)))
    first, second = (quantizer.codebooks[0] for quantizer in both)
    assert torch.equal(first.embed, second.embed)
    assert torch.equal(first.cluster_size, second.cluster_size)
    if begun:
        together = whole.codebooks[0]
        # The fourth entry was revived with a row drawn at random.
        torch.testing.assert_close(first.embed[:3], together.embed[:3], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(first.cluster_size, together.cluster_size)
    else:
        assert float(first.cluster_size.sum()) == pytest.approx(400, rel=1e-3)
