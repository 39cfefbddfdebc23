"""`tokenizer/streaming.py`: samples while codes arrive."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from schemas.errors import TokenizerError
from tokenizer import Tokenizer
from tokenizer.streaming import StreamDecoder


def make_codes(num_frames: int, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 16, (num_frames, 8), generator=random)


@pytest.mark.parametrize("num_frames", [1, 4, 5, 60])
@pytest.mark.parametrize("chunk_frames", [1, 7, 25, 100])
def test_pieces_add_up_to_every_frame(tiny: Tokenizer, num_frames: int, chunk_frames: int) -> None:
    pieces = list(
        tiny.stream_decode(
            make_codes(num_frames), chunk_frames=chunk_frames, left_frames=12, right_frames=4
        )
    )
    assert all(piece.shape[0] > 0 for piece in pieces)
    assert sum(piece.shape[0] for piece in pieces) == num_frames * 960


def test_a_clip_in_one_chunk_is_what_decode_gives(tiny: Tokenizer) -> None:
    codes = make_codes(30)
    (piece,) = tiny.stream_decode(codes, chunk_frames=30)
    assert torch.equal(piece, tiny.decode([codes])[0])


def test_streamed_samples_are_close_to_those_of_the_whole(tiny: Tokenizer) -> None:
    codes = make_codes(120)
    (whole,) = tiny.decode([codes])
    streamed = torch.cat(list(tiny.stream_decode(codes, left_frames=100, right_frames=40)))
    assert float(torch.cosine_similarity(whole, streamed, dim=0)) > 0.9


def test_codes_may_arrive_in_uneven_parts(tiny: Tokenizer) -> None:
    codes = make_codes(60)
    parts = codes.split([3, 30, 1, 26])
    pieces = list(tiny.stream_decode(iter(parts), left_frames=12, right_frames=4))
    assert sum(piece.shape[0] for piece in pieces) == 60 * 960


def test_pieces_come_before_all_codes_are_there(tiny: Tokenizer) -> None:
    taken: list[int] = []

    def arriving() -> Iterator[Tensor]:
        for number, part in enumerate(make_codes(60).split(10)):
            taken.append(number)
            yield part

    pieces = tiny.stream_decode(arriving(), left_frames=12, right_frames=4)
    next(pieces)
    assert taken == [0, 1]


def test_streams_side_by_side_do_not_hear_each_other(tiny: Tokenizer) -> None:
    codes = [make_codes(30, seed).split(10) for seed in range(2)]
    for stream in range(2):
        alone = StreamDecoder(tiny, left_frames=12, right_frames=4)
        both = StreamDecoder(tiny, 2, left_frames=12, right_frames=4)
        for number in range(3):
            last = number == 2
            (wanted,) = alone.step([codes[stream][number]], last=last)
            pieces = both.step([codes[0][number], codes[1][number]], last=last)
            assert torch.equal(pieces[stream], wanted)


def test_memory_of_a_stream_is_bounded(tiny: Tokenizer) -> None:
    decoder = StreamDecoder(tiny, left_frames=12, right_frames=4)
    for part in make_codes(90).split(9):
        decoder.step([part])
        assert decoder.cached_frames(0) <= 12


def test_a_stream_that_has_ended_takes_no_more(tiny: Tokenizer) -> None:
    decoder = StreamDecoder(tiny)
    decoder.step([make_codes(3)], last=True)
    with pytest.raises(TokenizerError, match="have ended"):
        decoder.step([make_codes(3)])


def test_settings_that_cannot_work_are_refused(tiny: Tokenizer) -> None:
    with pytest.raises(TokenizerError, match="left_frames is 3, wanted at least right_frames"):
        tiny.stream_decode(make_codes(3), left_frames=3, right_frames=4)
    with pytest.raises(TokenizerError, match="right_frames is -1"):
        StreamDecoder(tiny, right_frames=-1)
    with pytest.raises(TokenizerError, match="chunk_frames is 0"):
        tiny.stream_decode(make_codes(3), chunk_frames=0)
    bad = make_codes(3)
    bad[1, 2] = 99
    with pytest.raises(TokenizerError, match="code 99 at frame 1 of codebook 2"):
        tiny.stream_decode(bad)
    with pytest.raises(TokenizerError, match="1 chunks, wanted one for each of 2"):
        StreamDecoder(tiny, 2).step([make_codes(3)])


def test_no_codes_are_no_pieces(tiny: Tokenizer) -> None:
    assert list(tiny.stream_decode(iter(()))) == []


def test_a_refused_chunk_leaves_every_stream_as_it_was(tiny: Tokenizer) -> None:
    streams = StreamDecoder(tiny, 2, left_frames=12, right_frames=4)
    wrong = make_codes(8)
    wrong[3, 1] = 10_000
    with pytest.raises(TokenizerError, match="10000"):
        streams.step([make_codes(8), wrong])
    assert [streams.cached_frames(stream) for stream in range(2)] == [0, 0]
