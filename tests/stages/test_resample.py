"""Resampling, whole and in blocks."""

import numpy as np
import pytest

from stages.resample import resample
from stages.resample_blocks import resample_in_blocks
from tests.stages.media_files import sine

RNG = np.random.default_rng(0)


def test_the_same_rate_gives_a_copy() -> None:
    samples = np.arange(10, dtype=np.float32)
    for function in (resample, resample_in_blocks):
        same = function(samples, 16_000, 16_000)
        assert np.array_equal(same, samples)
        assert not np.shares_memory(same, samples)


def test_read_only_samples_are_taken() -> None:
    samples = np.ones(1600, np.float32)
    samples.flags.writeable = False
    assert resample(samples, 16_000, 24_000).shape == (2400,)


def test_what_the_lower_rate_cannot_hold_is_gone_and_the_rest_stays() -> None:
    low, high = sine(1, 48_000, 1000), sine(1, 48_000, 15_000)
    out = resample((low + high).astype(np.float32), 48_000, 24_000)
    expected = sine(1, 24_000, 1000)
    assert np.abs(out - expected)[200:-200].max() < 0.01


@pytest.mark.parametrize(
    ("from_hz", "to_hz"),
    [(48_000, 24_000), (44_100, 24_000), (11_024, 24_000), (8_000, 24_000), (24_000, 16_000)],
)
@pytest.mark.parametrize("num_samples", [1, 700, 300_017])
def test_blocks_give_what_the_whole_gives(from_hz: int, to_hz: int, num_samples: int) -> None:
    samples = RNG.standard_normal(num_samples).astype(np.float32)
    whole = resample(samples, from_hz, to_hz)
    blocks = resample_in_blocks(samples, from_hz, to_hz)
    assert blocks.shape == whole.shape
    assert np.abs(blocks - whole).max() < 5e-6


def test_a_rate_without_a_common_divisor_takes_no_gigabytes() -> None:
    tone = sine(12, 44_101, 440).astype(np.float32)
    out = resample_in_blocks(tone, 44_101, 24_000)
    assert out.shape == (288_000,)
    assert np.abs(out - sine(12, 24_000, 440))[100:-100].max() < 1e-3


def test_no_samples_stay_no_samples() -> None:
    assert resample_in_blocks(np.zeros(0, np.float32), 48_000, 24_000).shape == (0,)
