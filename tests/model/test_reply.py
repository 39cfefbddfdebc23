"""A reply is read from a generated grid, whatever ended it."""

import numpy as np
import pytest

from model.layout import Grid, Layout, SpokenPiece, TextPiece
from model.reply import read_reply
from model.text import TextTokenizer
from schemas.errors import ModelError

TEXT = TextTokenizer.of_bytes()
LAYOUT = Layout(special=TEXT.special, empty_codes=(64, 64, 16, 16))
SIZE = LAYOUT.group_size


def codes_of(num_groups: int, seed: int = 0) -> Grid:
    shape = (num_groups * SIZE, LAYOUT.num_codebooks)
    return np.random.default_rng(seed).integers(0, LAYOUT.empty_codes, shape)


def spoken(text: str, codes: Grid) -> Grid:
    return LAYOUT.lay([SpokenPiece(token_ids=TEXT.encode(text), codes=codes)])


@pytest.mark.parametrize("opened", [True, False])
@pytest.mark.parametrize("text", ["", "Hi.", "Hello there, good day!", "今天天气真好"])
def test_a_spoken_reply_is_read(text: str, opened: bool) -> None:
    """A prompt that ends with `<|sostm|>` leaves it out of what is generated."""
    codes = codes_of(9)
    ids_T = spoken(text, codes)
    reply = read_reply(ids_T if opened else ids_T[:, SIZE:], text=TEXT, layout=LAYOUT)
    assert reply.text.removeprefix("<|sostm|>") == text
    np.testing.assert_array_equal(reply.codes, codes)


def test_a_written_reply_has_no_codes() -> None:
    ids_T = LAYOUT.lay([TextPiece(token_ids=TEXT.encode(" A word. <|im_end|>"))])
    reply = read_reply(ids_T, text=TEXT, layout=LAYOUT)
    assert (reply.text, reply.codes) == ("A word.", None)


def test_a_run_that_was_cut_off_keeps_all_of_its_audio() -> None:
    codes = codes_of(9)
    ids_T = spoken("Hello there, good day!", codes)
    cut_T = ids_T[:, SIZE : (1 + 5 + 3) * SIZE]
    reply = read_reply(cut_T, text=TEXT, layout=LAYOUT)
    assert reply.text == "Hello"
    np.testing.assert_array_equal(reply.codes, codes[: 3 * SIZE])


def test_nothing_generated_is_an_empty_reply() -> None:
    reply = read_reply(LAYOUT.lay([]), text=TEXT, layout=LAYOUT)
    assert (reply.text, reply.codes) == ("", None)


def test_a_code_out_of_range_is_refused() -> None:
    ids_T = spoken("Hi.", codes_of(2))
    ids_T[2, 6 * SIZE] = 64
    with pytest.raises(ModelError, match=r"code 64 .* of codebook 1"):
        read_reply(ids_T, text=TEXT, layout=LAYOUT)
