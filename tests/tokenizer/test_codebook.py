"""`tokenizer/codebook.py` and `codebook_learning.py`: one table, found, looked up and moved."""

import pytest
import torch
from torch import Tensor

from tokenizer.codebook import Codebook
from tokenizer.codebook_learning import LearningSpec, initialise, update

SPEC = LearningSpec(dead_code_threshold=2.0)


def make_codebook(entries: Tensor, use: float = 10.0) -> Codebook:
    book = Codebook(*entries.shape)
    book.embed.copy_(entries)
    book.embed_avg.copy_(entries * use)
    book.cluster_size.fill_(use)
    book.inited.fill_(1.0)
    return book


@pytest.mark.parametrize("count", [1, 2, 33, 400])
def test_the_nearest_entry_is_the_one_at_the_smallest_distance(count: int) -> None:
    torch.manual_seed(0)
    book = make_codebook(torch.randn(128, 32))
    rows = torch.randn(count, 32)
    wanted = (rows[:, None].double() - book.embed.double()).square().sum(-1).argmin(-1)
    with torch.inference_mode():
        assert torch.equal(book.nearest(rows), wanted)
    assert torch.equal(book.nearest(rows), wanted)


def test_of_equal_entries_the_first_is_taken() -> None:
    book = make_codebook(torch.tensor([[5.0, 5.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    assert book.nearest(torch.tensor([[1.0, 0.1], [0.5, 0.5]])).tolist() == [1, 1]


def test_looking_an_entry_up_and_finding_it_again_is_the_identity() -> None:
    torch.manual_seed(0)
    book = make_codebook(torch.randn(64, 8))
    codes = torch.arange(64)
    assert torch.equal(book.nearest(book.lookup(codes)), codes)


def test_kept_norms_follow_the_table() -> None:
    book = make_codebook(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    row = torch.tensor([[0.9, 0.2]])
    assert book.nearest(row).tolist() == [0]
    book.embed.copy_(torch.tensor([[9.0, 0.0], [0.0, 1.0]]))
    assert book.nearest(row).tolist() == [1]


def test_initialising_finds_well_separated_clusters() -> None:
    torch.manual_seed(1)
    centres = 100.0 * torch.eye(4)
    rows = (centres.repeat(50, 1) + torch.randn(200, 4))[torch.randperm(200)]
    book = Codebook(64, 4)
    initialise(book, rows, SPEC, torch.Generator().manual_seed(0))
    assert bool(book.inited)
    assert float(book.cluster_size.sum()) >= 200
    nearest = torch.cdist(centres, book.embed).min(dim=1).values
    assert float(nearest.max()) < 3.0
    sums = book.embed * book.cluster_size.unsqueeze(1)
    torch.testing.assert_close(book.embed_avg, sums)


def test_initialising_with_fewer_rows_than_entries_uses_only_those_rows() -> None:
    rows = torch.randn(5, 3)
    book = Codebook(16, 3)
    initialise(book, rows, SPEC, torch.Generator().manual_seed(0))
    assert float(torch.cdist(book.embed, rows).min(dim=1).values.max()) < 1e-5


@pytest.mark.parametrize("start_from_sums", [True, False])
def test_the_first_step_after_initialising_keeps_entries_only_if_sums_are_kept(
    start_from_sums: bool,
) -> None:
    torch.manual_seed(2)
    rows = 10.0 + torch.randn(400, 4)
    spec = LearningSpec(dead_code_threshold=0.0, start_from_sums=start_from_sums)
    book = Codebook(8, 4)
    initialise(book, rows, spec, torch.Generator().manual_seed(0))
    before = book.embed.clone()
    update(book, rows, book.nearest(rows), spec)
    stayed = float((book.embed - before).norm(dim=1).max()) < 0.1
    assert stayed == start_from_sums


def test_entries_move_towards_the_rows_that_chose_them_and_the_others_stay() -> None:
    book = make_codebook(torch.tensor([[0.0, 0.0], [10.0, 10.0]]))
    rows = torch.full((50, 2), 1.0)
    codes = book.nearest(rows)
    assert codes.tolist() == [0] * 50
    for _ in range(20):
        update(book, rows, codes, LearningSpec(dead_code_threshold=0.0))
    assert 0.3 < float(book.embed[0, 0]) < 1.0
    torch.testing.assert_close(book.embed[1], torch.tensor([10.0, 10.0]), rtol=1e-3, atol=0)


def test_an_unused_entry_is_put_among_the_rows_and_stays_there() -> None:
    book = make_codebook(torch.tensor([[0.0, 0.0], [10.0, 10.0]]))
    book.cluster_size[1] = 0.5
    rows = torch.full((50, 2), 1.0)
    update(book, rows, torch.zeros(50, dtype=torch.int64), SPEC)
    torch.testing.assert_close(book.embed[1], torch.ones(2), rtol=1e-2, atol=0)


def test_the_published_step_undoes_the_replacement() -> None:
    book = make_codebook(torch.tensor([[0.0, 0.0], [10.0, 10.0]]))
    book.cluster_size[1] = 0.5
    book.embed_avg[1] = 5.0
    published = LearningSpec(dead_code_threshold=2.0, keep_replacements=False)
    update(book, torch.full((50, 2), 1.0), torch.zeros(50, dtype=torch.int64), published)
    assert float(book.embed[1, 0]) > 9.0
