"""`model/prompt_ids.py`: what is read, what is not, and what is refused."""

import pytest
import torch
from torch import Tensor

from model import pad_prompts, small_spec
from model.prompt_ids import check_context, split_ids
from model.small import small_special_tokens
from schemas.errors import ModelError
from tests.model.make_ids import make_ids

SPEC, SPECIAL = small_spec(), small_special_tokens()


@pytest.fixture
def ids() -> Tensor:
    return make_ids(SPEC, SPECIAL, 10).unsqueeze(0)


def audio_frame(ids: Tensor) -> int:
    """The first frame of the first audio position."""
    return int((ids[0, 0] == SPECIAL.empty).nonzero()[0])


def text_frame(ids: Tensor) -> int:
    return int(((ids[0, 0] >= 0) & (ids[0, 0] < 256)).nonzero()[0])


def test_groups_and_frames_keep_their_order(ids: Tensor) -> None:
    text, codes = split_ids(ids, SPEC, SPECIAL.empty)
    assert torch.equal(text, ids[:, 0, ::4])
    frame = audio_frame(ids)
    for ahead in range(4):
        assert torch.equal(codes[0, frame // 4, ahead], ids[0, 1:, frame + ahead])


def test_what_is_not_read_may_be_anything(ids: Tensor) -> None:
    wanted = split_ids(ids, SPEC, SPECIAL.empty)
    frame = text_frame(ids)
    ids[0, 1:, frame : frame + 4] = -100
    ids[0, 0, 1::4] = 10**6
    for found, want in zip(split_ids(ids, SPEC, SPECIAL.empty), wanted, strict=True):
        assert torch.equal(found, want)


def test_padding_is_not_read(ids: Tensor) -> None:
    ids[0, :, 20:] = 10**6
    text, codes = split_ids(ids, SPEC, SPECIAL.empty, [5])
    assert text[0, 5:].tolist() == [0] * 5
    assert codes[0, 5:].reshape(-1, 8).unique(dim=0).tolist() == [list(SPEC.empty_codes)]


def test_a_code_out_of_range_is_named_with_its_place(ids: Tensor) -> None:
    frame = audio_frame(ids)
    ids[0, 3, frame + 2] = 129
    message = rf"row 0, frame {frame + 2}, channel 2: code 129, wanted 0\.\.128"
    with pytest.raises(ModelError, match=message):
        split_ids(ids, SPEC, SPECIAL.empty)


@pytest.mark.parametrize("token_id", [-100, 320])
def test_a_text_id_out_of_range_is_named_with_its_place(ids: Tensor, token_id: int) -> None:
    ids[0, 0, 12] = token_id
    with pytest.raises(ModelError, match=rf"row 0, group 3: text id {token_id}, wanted 0\.\.319"):
        split_ids(ids, SPEC, SPECIAL.empty)


def test_frames_that_are_no_whole_group_are_refused(ids: Tensor) -> None:
    with pytest.raises(ModelError, match=r"38 frames, wanted a positive multiple of 4; repeat"):
        split_ids(ids[..., :38], SPEC, SPECIAL.empty)


def test_wrong_shapes_and_kinds_are_refused(ids: Tensor) -> None:
    with pytest.raises(ModelError, match=r"shape \[1, 8, 40\], wanted \[batch, 9, frames\]"):
        split_ids(ids[:, :8], SPEC, SPECIAL.empty)
    with pytest.raises(ModelError, match=r"shape \[9, 40\]"):
        split_ids(ids[0], SPEC, SPECIAL.empty)
    with pytest.raises(ModelError, match=r"input_ids is torch\.float32, wanted int64"):
        split_ids(ids.float(), SPEC, SPECIAL.empty)


def test_lengths_count_groups(ids: Tensor) -> None:
    with pytest.raises(ModelError, match=r"row 0: length 40, wanted 1\.\.10 groups"):
        split_ids(ids, SPEC, SPECIAL.empty, [40])
    with pytest.raises(ModelError, match="2 lengths for 1 rows"):
        split_ids(ids, SPEC, SPECIAL.empty, [1, 2])


def test_prompts_are_padded_on_the_right(ids: Tensor) -> None:
    padded, lengths = pad_prompts([ids[0], ids[0, :, :8]], SPEC)
    assert (padded.shape, lengths) == ((2, 9, 40), [10, 2])
    assert torch.equal(padded[1, :, :8], ids[0, :, :8])
    assert not bool(padded[1, :, 8:].any())
    with pytest.raises(ModelError, match="no prompts"):
        pad_prompts([], SPEC)
    with pytest.raises(ModelError, match="7 frames"):
        pad_prompts([ids[0], ids[0, :, :7]], SPEC)


def test_the_context_is_a_limit() -> None:
    check_context(2048, SPEC)
    with pytest.raises(ModelError, match="2049 groups are beyond the context of 2048; shorten"):
        check_context(2049, SPEC)
