"""A clip's codes are its own, to the bit, whatever it is packed with."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import permutations
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.tokenizer.make_sound import make_sound
from tokenizer import Tokenizer, TokenizerOptions, clip_encoding
from tokenizer.packing import Tiling
from tokenizer.tiling import APART

NUM_CODEBOOKS = 20
LENGTHS = st.builds(
    lambda frames, residue: 960 * frames + residue, st.integers(1, 5), st.integers(0, 959)
)


@cache
def _alone(tiny: Tokenizer, length: int, seed: int, threads: int) -> Tensor:
    assert torch.get_num_threads() == threads
    return tiny.encode([make_sound(length, seed)], NUM_CODEBOOKS)[0]


def assert_own_codes(tiny: Tokenizer, clips: list[tuple[int, int]], hops_per_pack: int) -> None:
    """`clips` are lengths and seeds."""
    together = tiny.encode(
        [make_sound(*clip) for clip in clips], NUM_CODEBOOKS, hops_per_pack=hops_per_pack
    )
    for clip, codes in zip(clips, together, strict=True):
        assert torch.equal(codes, _alone(tiny, *clip, torch.get_num_threads())), clip


@given(
    clips=st.lists(st.tuples(LENGTHS, st.integers(0, 3)), min_size=1, max_size=12),
    hops_per_pack=st.sampled_from([1, 30, 200, 8192]),
)
@settings(max_examples=40, deadline=None)
def test_codes_do_not_depend_on_company_order_or_pack_size(
    tiny: Tokenizer, clips: list[tuple[int, int]], hops_per_pack: int
) -> None:
    assert_own_codes(tiny, clips, hops_per_pack)


def test_two_threads_keep_the_promise(tiny: Tokenizer) -> None:
    torch.set_num_threads(2)
    clips = [(length, length) for length in (24_000, 70_000, 961, 12_700, 2_345)]
    assert_own_codes(tiny, clips, hops_per_pack=8192)


def test_every_residue_of_the_length_keeps_its_codes(tiny: Tokenizer) -> None:
    clips = [(960 * (1 + residue % 4) + residue, 0) for residue in range(960)]
    assert_own_codes(tiny, clips, hops_per_pack=700)
    assert_own_codes(tiny, clips[::-1], hops_per_pack=8192)


def test_codes_do_not_depend_on_the_number_of_threads(tiny: Tokenizer) -> None:
    # Features may differ in a last bit on some processors; no code of these clips hangs on one.
    clips = [make_sound(length, length) for length in (960, 961, 2_000, 3_000, 24_000, 50_000)]
    wanted = tiny.encode(clips, NUM_CODEBOOKS)
    torch.set_num_threads(2)
    for codes, alone in zip(tiny.encode(clips, NUM_CODEBOOKS), wanted, strict=True):
        assert torch.equal(codes, alone)


def test_clips_longer_than_a_window_keep_their_codes(
    tiny: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = [make_sound(length, length) for length in (961, 48_000, 24_000, 5_000, 30_000)]
    wanted = tiny.encode(clips, NUM_CODEBOOKS)
    monkeypatch.setattr(clip_encoding, "CPU_HOPS_PER_WINDOW", 110)
    for codes, alone in zip(tiny.encode(clips, NUM_CODEBOOKS), wanted, strict=True):
        assert torch.equal(codes, alone)


def test_callers_on_several_threads_get_the_codes_of_one(tiny_folder: Path) -> None:
    tokenizer = Tokenizer.from_pretrained(tiny_folder)  # whose layouts and tables are not made yet
    clips = [make_sound(length, length) for length in (961, 48_000, 24_000, 5_000, 70_000)]

    def call(_: int) -> list[Tensor]:
        torch.set_num_threads(2)
        return tokenizer.encode(clips, NUM_CODEBOOKS)

    torch.set_num_threads(2)
    with ThreadPoolExecutor(3) as callers:
        found = list(callers.map(call, range(6)))
    torch.set_num_threads(1)
    wanted = tokenizer.encode(clips, NUM_CODEBOOKS)
    assert all(all(map(torch.equal, codes, wanted)) for codes in found)


def test_a_long_neighbour_changes_nothing(tiny: Tokenizer) -> None:
    # 101 and 53 hops are odd, 51 and 27 rows are odd: what a padded batch would change.
    assert_own_codes(tiny, [(24_000, 1), (150_000, 2), (12_700, 3)], hops_per_pack=8192)


def test_a_padded_batch_would_change_them(tiny_folder: Path) -> None:
    options = TokenizerOptions(segment_hops=101, reference_padding=True)
    padded = Tokenizer.from_pretrained(tiny_folder, options=options)
    own = Tokenizer.from_pretrained(tiny_folder, options=TokenizerOptions(segment_hops=101))
    clip = make_sound(24_000 + 13_000, 1)
    different = padded.encode([clip], NUM_CODEBOOKS)[0] != own.encode([clip], NUM_CODEBOOKS)[0]
    assert not bool(different[:26].any())
    assert bool(different[26:].any())


@pytest.mark.parametrize("tiling", [APART, Tiling(sizes=(192,)), Tiling(sizes=(48,))])
def test_other_tilings_keep_the_promise_too(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, tiling: Tiling
) -> None:
    tokenizer = Tokenizer.from_pretrained(tiny_folder)
    monkeypatch.setattr(tokenizer._clips, "tiling", lambda: tiling)
    clips = [make_sound(length, length) for length in (961, 24_000, 5_000, 40_877, 1_700)]
    alone = [tokenizer.encode([clip], NUM_CODEBOOKS)[0] for clip in clips]
    for codes, wanted in zip(tokenizer.encode(clips, NUM_CODEBOOKS), alone, strict=True):
        assert torch.equal(codes, wanted)


def test_segments_of_a_long_clip_are_encoded_each_by_itself(tiny_folder: Path) -> None:
    options = TokenizerOptions(segment_hops=100)
    tokenizer = Tokenizer.from_pretrained(tiny_folder, options=options)
    clip = make_sound(60_000, 1)
    (whole,) = tokenizer.encode([clip], NUM_CODEBOOKS)
    mel = tokenizer._clips.mel(clip)
    with torch.inference_mode():
        parts = [
            tokenizer.model.encoder.codes(
                tokenizer.model.encoder([part], tiling=tokenizer._clips.tiling()), NUM_CODEBOOKS
            )[0]
            for part in mel.split(100)
        ]
    assert len(parts) == 3
    assert torch.equal(whole, torch.cat(parts))
    assert whole.shape[0] == tokenizer.num_frames(60_000)


def test_samples_do_not_depend_on_company_either(tiny: Tokenizer) -> None:
    clips = [make_sound(length, length) for length in (24_000, 70_000, 961, 12_700)]
    codes = tiny.encode(clips)
    alone = [tiny.decode([clip])[0] for clip in codes]
    for order in permutations(range(4)):
        for place, samples in zip(order, tiny.decode([codes[n] for n in order]), strict=True):
            assert torch.equal(samples, alone[place])


def test_the_small_tokenizer_keeps_the_promise(small: Tokenizer) -> None:
    clips = [make_sound(length, length) for length in (24_000, 100_000, 961, 12_700, 48_123)]
    alone = [small.encode([clip])[0] for clip in clips]
    for codes, wanted in zip(small.encode(clips), alone, strict=True):
        assert torch.equal(codes, wanted)
