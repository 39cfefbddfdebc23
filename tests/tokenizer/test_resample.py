"""`tokenizer/resample.py`: any rate to the tokenizer's."""

import math

import pytest
import torch

from schemas.errors import TokenizerError
from tokenizer.resample import resample


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_a_tone_stays_the_same_tone(rate_hz: int) -> None:
    time_s = torch.arange(rate_hz) / rate_hz
    found = resample(torch.sin(2 * math.pi * 440 * time_s), rate_hz, 24_000)
    wanted = torch.sin(2 * math.pi * 440 * torch.arange(24_000) / 24_000)
    assert found.shape == (24_000,)
    assert float((found - wanted)[500:-500].abs().max()) < 5e-3


def test_the_number_of_samples_is_rounded_up() -> None:
    assert resample(torch.zeros(1001), 44_100, 24_000).shape == (math.ceil(1001 * 240 / 441),)


def test_the_same_rate_changes_nothing() -> None:
    sound = torch.randn(100)
    assert resample(sound, 24_000, 24_000) is sound


def test_a_rate_that_is_none_is_refused() -> None:
    with pytest.raises(TokenizerError, match="from_hz is 0, wanted 1 or more"):
        resample(torch.zeros(10), 0, 24_000)
