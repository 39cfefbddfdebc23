"""Mixing down: a voice survives whatever is wrong with the other channels."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from schemas.codes import Waveform
from stages.downmix import MonoMix, to_float

RNG = np.random.default_rng(0)
VOICE = (RNG.standard_normal(8000) * 0.1).astype(np.float32)
OTHER = (RNG.standard_normal(8000) * 0.1).astype(np.float32)
SILENT = np.zeros(8000, np.float32)


def mixed(*channels: Waveform, only: int | None = None) -> tuple[Waveform, str, int | None]:
    mix = MonoMix(len(channels), only)
    stacked = np.stack(channels)
    mono = [mix.add(stacked[:, start : start + 1000]) for start in range(0, 8000, 1000)]
    how, gain = mix.judged()
    return np.concatenate(mono) * np.float32(gain), how, mix.better_channel()


@pytest.mark.parametrize(
    ("dtype", "full_scale"), [(np.int16, 2**15), (np.int32, 2**31), (np.int64, 2**63)]
)
def test_integers_are_scaled_by_their_full_range(dtype: type, full_scale: int) -> None:
    samples: npt.NDArray[Any] = np.array([[-full_scale, 0, full_scale // 2]]).astype(dtype)
    assert to_float(samples, 1).tolist() == [[-1.0, 0.0, 0.5]]


def test_eight_bit_samples_are_centred_on_128() -> None:
    assert to_float(np.array([[0, 128, 192]], np.uint8), 1).tolist() == [[-1.0, 0.0, 0.5]]


def test_interleaved_samples_are_taken_apart() -> None:
    samples = np.array([[1, 10, 2, 20, 3, 30]], np.float32)
    assert to_float(samples, 2).tolist() == [[1, 2, 3], [10, 20, 30]]


def test_equal_and_different_channels_are_averaged() -> None:
    same, how, better = mixed(VOICE, VOICE)
    assert np.allclose(same, VOICE)
    assert (how, better) == ("mean", None)
    both, how, better = mixed(VOICE, OTHER)
    assert np.allclose(both, (VOICE + OTHER) / 2)
    assert (how, better) == ("mean", None)


def test_dead_channels_do_not_dilute_the_others() -> None:
    alone, how, better = mixed(SILENT, VOICE)
    assert np.allclose(alone, VOICE)
    assert (how, better) == ("channel:1", None)
    two, how, _ = mixed(VOICE, SILENT, OTHER, SILENT)
    assert np.allclose(two, (VOICE + OTHER) / 2, atol=1e-6)
    assert how == "mean"


def test_channels_that_cancel_are_answered_with_the_loudest() -> None:
    _, _, better = mixed(VOICE * 0.9, -VOICE)
    assert better == 1
    chosen, how, _ = mixed(VOICE * 0.9, -VOICE, only=1)
    assert np.array_equal(chosen, -VOICE)
    assert how == "channel:1"


def test_silence_has_no_better_channel() -> None:
    silence, how, better = mixed(SILENT, SILENT)
    assert not silence.any()
    assert (how, better) == ("mean", None)


def test_what_is_no_sample_is_counted_once_per_moment_and_silenced() -> None:
    mix = MonoMix(2)
    channels = np.stack([VOICE, OTHER])
    channels[:, 5] = np.nan
    channels[0, 6] = np.inf
    channels[1, 7] = -1e20
    mono = mix.add(channels)
    assert mix.num_nonfinite == 3
    assert np.isfinite(mono).all()
    assert mono[5] == 0
    assert mono[6] == OTHER[6] / 2
