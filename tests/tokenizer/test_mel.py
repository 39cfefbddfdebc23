"""`tokenizer/mel.py`: log-mel hops."""

import math

import pytest
import torch

from tests.tokenizer.make_sound import make_sound
from tokenizer import Tokenizer
from tokenizer.mel import LogMel, mel_bands

LENGTHS = (481, 720, 959, 960, 961, 24_000, 30_001)


@pytest.fixture
def mel(tiny: Tokenizer) -> LogMel:
    return LogMel(tiny.spec)


@pytest.mark.parametrize("num_samples", LENGTHS)
def test_hops_equal_those_of_torchaudio(mel: LogMel, num_samples: int) -> None:
    from torchaudio.transforms import MelSpectrogram

    peer = MelSpectrogram(24_000, 960, 960, 240, 0.0, None, n_mels=128, power=1.0)
    sound = make_sound(num_samples)
    wanted = peer(sound).clamp(min=1e-7).log().T
    assert mel(sound).shape == (1 + num_samples // 240, 128)
    torch.testing.assert_close(mel(sound), wanted, rtol=0, atol=1e-4)


def test_silence_is_the_floor_everywhere(mel: LogMel) -> None:
    hops = mel(torch.zeros(2400))
    torch.testing.assert_close(hops, torch.full_like(hops, math.log(1e-7)))


def test_a_tone_is_loudest_in_the_band_that_holds_it(mel: LogMel, tiny: Tokenizer) -> None:
    tone_hz = 1000.0
    sound = torch.sin(2 * math.pi * tone_hz * torch.arange(24_000) / 24_000)
    loudest = int(mel(sound)[50].argmax())
    weights = mel_bands(tiny.spec)[round(tone_hz / 25)]
    assert loudest == int(weights.argmax())


def test_twice_the_amplitude_is_log_two_more(mel: LogMel) -> None:
    sound = make_sound(4800)
    difference = mel(2 * sound) - mel(sound)
    torch.testing.assert_close(
        difference, torch.full_like(difference, math.log(2)), atol=1e-4, rtol=0
    )


def test_many_waveforms_at_once_give_the_same_hops(mel: LogMel) -> None:
    sounds = [make_sound(length, seed) for seed, length in enumerate(LENGTHS)]
    for sound, packed in zip(sounds, mel.packed(sounds), strict=True):
        torch.testing.assert_close(packed, mel(sound), rtol=0, atol=1e-3)
