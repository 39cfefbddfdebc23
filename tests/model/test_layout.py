"""What is laid out can be read back, and what has no place is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.layout import (
    FILLER,
    GROUPS_PER_TURN,
    TOKENS_PER_TURN,
    Grid,
    Layout,
    Piece,
    SpeechPiece,
    SpokenPiece,
    TextPiece,
)
from model.text import TextTokenizer
from schemas.errors import ModelError

SPECIAL = TextTokenizer.of_bytes().special
LAYOUT = Layout(special=SPECIAL, empty_codes=(64, 64, 16, 16), group_size=4)
ROWS = 1 + LAYOUT.num_codebooks
MARKERS = {SPECIAL.empty, SPECIAL.sosp, SPECIAL.eosp, SPECIAL.sostm, SPECIAL.eostm, SPECIAL.eot}


def codes_of(num_groups: int, seed: int = 0, layout: Layout = LAYOUT) -> Grid:
    rng = np.random.default_rng(seed)
    shape = (num_groups * layout.group_size, layout.num_codebooks)
    return rng.integers(0, layout.empty_codes, shape)


CODES = st.builds(codes_of, st.integers(0, 13), st.integers(0, 9))
WORDS = st.lists(st.integers(0, 400).filter(lambda token_id: token_id not in MARKERS), max_size=14)
PIECES: st.SearchStrategy[list[Piece]] = st.lists(
    st.one_of(
        st.builds(lambda words: TextPiece(token_ids=tuple(words)), WORDS),
        st.builds(lambda codes: SpeechPiece(codes=codes), CODES),
        st.builds(
            lambda words, codes: SpokenPiece(token_ids=tuple(words), codes=codes), WORDS, CODES
        ),
    ),
    max_size=6,
)


def merged(pieces: list[Piece]) -> list[Piece]:
    """Text pieces that touch are one; a text of nothing is none."""
    whole: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, TextPiece) and whole and isinstance(whole[-1], TextPiece):
            whole[-1] = TextPiece(token_ids=whole[-1].token_ids + piece.token_ids)
        elif piece != TextPiece(token_ids=()):
            whole.append(piece)
    return whole


@settings(max_examples=40, deadline=None)
@given(PIECES, st.booleans())
def test_what_is_laid_out_is_read_back(pieces: list[Piece], opened: bool) -> None:
    if opened:
        pieces = [*pieces, TextPiece(token_ids=(SPECIAL.sostm,))]
    assert list(LAYOUT.read(LAYOUT.lay(pieces))) == merged(pieces)


@settings(max_examples=40, deadline=None)
@given(PIECES)
def test_a_grid_is_whole_groups_of_text_or_audio(pieces: list[Piece]) -> None:
    ids_T = LAYOUT.lay(pieces)
    assert ids_T.dtype == np.int64
    assert ids_T.shape[0] == ROWS
    assert ids_T.shape[1] % LAYOUT.group_size == 0
    empty = np.array(LAYOUT.empty_codes)[:, None]
    is_audio = np.repeat(ids_T[0, ::4] == SPECIAL.empty, 4)
    assert (ids_T[1:, is_audio] < empty).all()
    assert (ids_T[1:, ~is_audio] == empty).all()
    assert (ids_T[0].reshape(-1, 4)[:, 1:] == FILLER).all()


@settings(max_examples=40, deadline=None)
@given(PIECES, PIECES)
def test_pieces_do_not_see_their_neighbours(first: list[Piece], second: list[Piece]) -> None:
    apart = LAYOUT.join([LAYOUT.lay(first), LAYOUT.lay(second)])
    np.testing.assert_array_equal(apart, LAYOUT.lay([*first, *second]))


@settings(max_examples=40, deadline=None)
@given(PIECES)
def test_frames_that_are_not_read_do_not_matter(pieces: list[Piece]) -> None:
    """Generated groups repeat the text id in all of their frames."""
    ids_T = LAYOUT.lay(pieces)
    ids_T[0] = np.repeat(ids_T[0, ::4], 4)
    assert list(LAYOUT.read(ids_T)) == merged(pieces)


def test_spoken_speech_takes_turns() -> None:
    words = tuple(range(TOKENS_PER_TURN + 2))
    laid = LAYOUT.lay([SpokenPiece(token_ids=words, codes=codes_of(2 * GROUPS_PER_TURN + 3))])
    assert list(LAYOUT.text_ids(laid)) == [
        *[SPECIAL.sostm, *words[:TOKENS_PER_TURN], *[SPECIAL.empty] * GROUPS_PER_TURN],
        *[*words[TOKENS_PER_TURN:], SPECIAL.eot, *[SPECIAL.empty] * (GROUPS_PER_TURN + 3)],
        SPECIAL.eostm,
    ]


def test_a_last_turn_of_five_tokens_takes_the_end_of_text_along() -> None:
    laid = LAYOUT.lay([SpokenPiece(token_ids=(1, 2, 3, 4, 5), codes=codes_of(1))])
    assert list(LAYOUT.text_ids(laid)) == [
        *[SPECIAL.sostm, 1, 2, 3, 4, 5, SPECIAL.eot, SPECIAL.empty, SPECIAL.eostm]
    ]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30))
def test_codes_are_brought_to_whole_groups_by_their_last_frame(num_frames: int) -> None:
    codes = codes_of(8)[:num_frames]
    whole = LAYOUT.whole_groups(codes)
    assert len(whole) == -(-num_frames // 4) * 4
    np.testing.assert_array_equal(whole[:num_frames], codes)
    assert (whole[num_frames:] == codes[-1]).all()
    assert len(LAYOUT.whole_groups(codes[:0])) == 0


@pytest.mark.parametrize("num_frames", [1, 3, 5, 7])
def test_codes_of_broken_groups_are_refused(num_frames: int) -> None:
    with pytest.raises(ModelError, match=f"codes of {num_frames} frames: wanted whole groups of 4"):
        LAYOUT.lay([SpeechPiece(codes=codes_of(2)[:num_frames])])


@pytest.mark.parametrize("code", [16, 17, -1])
def test_a_code_out_of_range_is_named_with_its_place(code: int) -> None:
    codes = codes_of(2)
    codes[5, 3] = code
    wanted = rf"code {code} at frame 5 of codebook 3: wanted 0\.\.15"
    with pytest.raises(ModelError, match=wanted):
        LAYOUT.lay([SpeechPiece(codes=codes)])
    with pytest.raises(ModelError, match=wanted):
        LAYOUT.lay([SpokenPiece(token_ids=(), codes=codes)])


@pytest.mark.parametrize(
    "codes", [np.zeros((4, 3), int), np.zeros(4, int), np.zeros((4, 4)), np.zeros((4, 4), bool)]
)
def test_codes_of_another_shape_or_type_are_refused(codes: Grid) -> None:
    with pytest.raises(ModelError, match=r"wanted integers \[frames, 4\]"):
        LAYOUT.lay([SpeechPiece(codes=codes)])


@pytest.mark.parametrize("token_id", [-1, -100, SPECIAL.empty])
def test_text_cannot_pass_for_audio(token_id: int) -> None:
    with pytest.raises(ModelError, match=f"text token {token_id}: wanted an id"):
        LAYOUT.lay([TextPiece(token_ids=(token_id,))])


@pytest.mark.parametrize("token_id", [SPECIAL.sostm, SPECIAL.eostm, SPECIAL.eot])
def test_spoken_text_cannot_end_itself(token_id: int) -> None:
    with pytest.raises(ModelError, match="text of spoken speech holds a token"):
        LAYOUT.lay([SpokenPiece(token_ids=(token_id,), codes=codes_of(1))])


@pytest.mark.parametrize("shape", [(ROWS, 3), (ROWS - 1, 4), (ROWS,)])
def test_a_grid_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=rf"wanted \[{ROWS}, T\] with T a multiple of 4"):
        LAYOUT.read(np.zeros(shape, np.int64))


@pytest.mark.parametrize(
    "pieces",
    [
        [TextPiece(token_ids=(SPECIAL.sosp, 5)), SpeechPiece(codes=codes_of(1))],
        [TextPiece(token_ids=(SPECIAL.sostm, 1, 2, SPECIAL.eostm))],
    ],
)
def test_a_grid_out_of_order_is_not_read(pieces: list[Piece]) -> None:
    with pytest.raises(ModelError, match="do not alternate as they are laid out"):
        LAYOUT.read(LAYOUT.lay(pieces))


def test_audio_outside_its_markers_is_not_read() -> None:
    laid = LAYOUT.lay([SpeechPiece(codes=codes_of(2))])[:, 4:]
    with pytest.raises(ModelError, match="marks audio"):
        LAYOUT.read(laid)


@pytest.mark.parametrize(("empty_codes", "group_size"), [((), 4), ((0,), 4), ((4,), 0)])
def test_a_layout_of_nothing_is_refused(empty_codes: tuple[int, ...], group_size: int) -> None:
    with pytest.raises(ModelError, match="must be at least 1"):
        Layout(special=SPECIAL, empty_codes=empty_codes, group_size=group_size)
