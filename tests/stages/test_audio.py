"""A waveform that stages share."""

from typing import Any

import numpy as np
import pytest

from schemas.errors import ItemError
from stages.audio import Audio


def test_nobody_can_write_into_shared_samples() -> None:
    samples = np.ones(2400, np.float32)
    audio = Audio(samples, 24_000)
    for shared in (audio.samples, audio.at(16_000), audio.cut(0, 100), audio.cut(0, 99, 16_000)):
        with pytest.raises(ValueError, match="read-only"):
            shared[0] = 0
    samples[0] = 2.0  # the owner's own array stays writable


def test_every_rate_is_resampled_once() -> None:
    audio = Audio(np.ones(2400, np.float32), 24_000)
    assert audio.at(16_000) is audio.at(16_000)
    assert audio.at(24_000) is audio.samples


def test_lengths_and_cuts_are_in_the_units_they_name() -> None:
    audio = Audio(np.arange(2400, dtype=np.float32), 24_000)
    assert (audio.num_samples, audio.duration_s) == (2400, 0.1)
    assert audio.cut(240, 480).tolist() == list(range(240, 480))
    assert audio.cut(240, 480, 16_000).shape == (160,)


@pytest.mark.parametrize("wrong", [np.ones((2, 10), np.float32), np.ones(10, np.float64)])
def test_anything_but_mono_float32_is_refused(wrong: Any) -> None:
    with pytest.raises(ItemError, match="wanted one dimension of float32"):
        Audio(wrong, 24_000)
