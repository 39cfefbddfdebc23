"""`tokenizer/small.py`: an untrained stand-in that behaves."""

import json

import pytest
import torch

from tests.tokenizer.make_sound import make_sound
from tokenizer import Tokenizer, small_tokenizer


def test_it_has_the_shape_that_the_language_model_reads(small: Tokenizer) -> None:
    assert small.frame_rate_hz == 25
    assert small.codebook_sizes == (1024, 1024, 128, 128, 128, 128, 128, 128)
    assert 5_000_000 < sum(part.numel() for part in small.model.parameters()) < 8_000_000


def test_it_says_that_it_is_untrained(small: Tokenizer) -> None:
    assert json.loads(small.fingerprint())["trained"] is False
    assert small.describe()["trained"] is False
    assert "untrained" in small.describe()["origin"]


def test_a_seed_gives_the_same_bits_for_any_number_of_threads(small: Tokenizer) -> None:
    torch.set_num_threads(2)
    torch.manual_seed(99)
    again = small_tokenizer(seed=0)
    assert again.fingerprint() == small.fingerprint()
    for name, tensor in small.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor), name


def test_making_it_draws_nothing_from_the_global_generator(small: Tokenizer) -> None:
    before = torch.get_rng_state()
    other = small_tokenizer(seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert other.fingerprint() != small.fingerprint()


def test_codes_follow_the_audio(small: Tokenizer) -> None:
    sounds = [make_sound(48_000, seed, level=0.02 * 2**seed) for seed in range(6)]
    codes = torch.cat(small.encode(sounds))
    for book in range(8):
        assert codes[:, book].unique().numel() > 20, book
    first = [set(part[:, 0].tolist()) for part in small.encode(sounds)]
    assert len(first[0] & first[5]) < len(first[0])


def test_equal_audio_has_equal_codes_wherever_it_stands(small: Tokenizer) -> None:
    sound = make_sound(24_000)
    one, other = small.encode([sound, sound.clone()])
    assert torch.equal(one, other)


def test_its_samples_stay_in_range(small: Tokenizer) -> None:
    (samples,) = small.decode(small.encode([make_sound(48_000)]))
    assert 1e-3 < float(samples.square().mean().sqrt()) < 0.5
    assert float(samples.abs().max()) < 1.0


@pytest.mark.parametrize("level", [0, 1, 2, 7])
def test_every_codebook_brings_the_sum_nearer_to_the_features(small: Tokenizer, level: int) -> None:
    with torch.inference_mode():
        mel = small._clips.mel(make_sound(96_000))
        features = small.model.encoder([mel])
        rows = features.pack.of_clip(features.rows, 0)
        quantizer = small.model.encoder.quantizer
        codes = quantizer.encode(rows, level + 1)
        after = (rows - quantizer.decode(codes)).square().mean()
        before = rows.square().mean()
        if level:
            before = (rows - quantizer.decode(codes[:, :level])).square().mean()
    assert float(after) < float(before)
