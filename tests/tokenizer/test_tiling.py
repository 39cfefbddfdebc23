"""`tokenizer/tiling.py`: which tile sizes keep a row's bits its own."""

import torch
from torch import Tensor

from tokenizer import Tokenizer
from tokenizer.tiling import APART, SIZES, TilingChoice, find_tiling


def steady(count: int) -> Tensor:
    return torch.ones(count, 3)


def test_all_sizes_serve_where_they_agree() -> None:
    assert find_tiling([steady, steady]).sizes == SIZES


def test_a_size_that_gives_other_bits_is_left_out() -> None:
    def odd_when_small(count: int) -> Tensor:
        return torch.full((count, 3), 1.0 if count > 48 else 1.0 + 2**-20)

    assert find_tiling([steady, odd_when_small]).sizes == (96, 192)


def test_large_tiles_are_given_up_where_only_small_ones_are_even() -> None:
    def uneven_when_large(count: int) -> Tensor:
        rows = torch.ones(count, 3)
        rows[96:] += 2**-20
        return rows

    assert find_tiling([steady, uneven_when_large]).sizes == (48, 96)


def test_clips_are_set_apart_where_a_rows_place_shows() -> None:
    def uneven(count: int) -> Tensor:
        return torch.arange(count)[:, None].expand(-1, 3) * 2.0**-20

    assert find_tiling([steady, uneven]) == APART


def test_the_choice_is_made_again_when_the_threads_change() -> None:
    made: list[int] = []

    def probes() -> list[type]:
        made.append(torch.get_num_threads())
        return []

    choice = TilingChoice(probes)
    choice()
    choice()
    torch.set_num_threads(2)
    choice()
    assert made == [1, 2]


def test_probes_cover_the_work_of_both_parts(tiny: Tokenizer) -> None:
    for probes in (tiny.model.encoder.row_probes(), tiny.model.decoder.row_probes()):
        assert len(probes) >= 5
        for probe in probes:
            rows = probe(48)
            assert rows.shape[0] == 48
            assert float(rows.abs().sum()) > 0
