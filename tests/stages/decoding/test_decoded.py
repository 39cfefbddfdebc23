"""Stretches of a file joined into one recording."""

from dataclasses import replace

import numpy as np
import pytest

from schemas.errors import ItemError
from stages.decoding.contents import Contents, Stretch
from stages.decoding.decoded import judged
from tests.stages.media_files import sine


def stretch(sample_rate_hz: int, num_samples: int, num_lost: int = 0) -> Stretch:
    return Stretch(
        sample_rate_hz=sample_rate_hz,
        channels=1,
        num_samples=num_samples,
        downmix="mono",
        num_nonfinite=num_lost,
        num_lost=num_lost,
    )


def contents(*stretches: Stretch) -> Contents:
    return Contents(
        container="ogg",
        codec="flac",
        claimed_s=None,
        tolerance_s=0.02,
        num_errors=0,
        ends_inside_page=False,
        bytes_of_other_audio=0,
        bytes_of_no_chunk=0,
        stretches=stretches,
    )


def test_rates_without_a_common_divisor_cost_no_more_than_others() -> None:
    # As filters of every phase they would take 280 GB.
    tone = sine(1, 96_001, 1000).astype(np.float32)
    samples = np.concatenate([sine(2, 44_100, 1000).astype(np.float32), tone])
    found = judged(contents(stretch(44_100, 88_200), stretch(96_001, 96_001)), samples, "a.ogg")
    assert (found.sample_rate_hz, list(found.damage)) == (44_100, ["FORMAT_CHANGE"])
    assert found.decoded_s == pytest.approx(3.0, abs=1e-4)
    second = np.abs(np.fft.rfft(found.samples[88_200:132_300]))
    assert second.argmax() == 1000


def test_nothing_and_nothing_but_lost_samples_fail() -> None:
    with pytest.raises(ItemError, match="gave no samples") as raised:
        judged(contents(), np.zeros(0, np.float32), "a.ogg")
    assert raised.value.error_class == "DECODED_EMPTY"
    promising = replace(contents(), claimed_s=11.05)
    with pytest.raises(ItemError, match=r"promises 11.05 s, so it was cut off \(copy it again"):
        judged(promising, np.zeros(0, np.float32), "a.m4a")
    with pytest.raises(ItemError, match="all 10 samples are NaN") as raised:
        judged(contents(stretch(8000, 10, num_lost=10)), np.zeros(10, np.float32), "a.ogg")
    assert raised.value.error_class == "NONFINITE"
