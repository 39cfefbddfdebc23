"""Flat tops are found wherever they have ended up."""

import numpy as np
import pytest

from schemas.codes import Waveform
from stages.clipping import clipping_ratio
from stages.resample import resample
from tests.stages.recorded import RATE_HZ, shared_recording, speech_like


def clipped(samples: Waveform, share: float) -> Waveform:
    rail = np.quantile(np.abs(samples), 1 - share)
    return np.clip(samples, -rail, rail)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_unclipped_speech_has_none(seed: int) -> None:
    assert clipping_ratio(speech_like(6.0, seed)) < 1e-3


@pytest.mark.parametrize("gain", [0.1, 0.7])
@pytest.mark.parametrize("share", [0.01, 0.03, 0.1])
def test_the_share_of_clipped_samples_survives_a_gain(share: float, gain: float) -> None:
    measured = clipping_ratio(gain * clipped(speech_like(6.0), share))
    assert measured == pytest.approx(share, rel=0.35)


@pytest.mark.parametrize("source_rate_hz", [16_000, 48_000])
def test_the_share_survives_resampling(source_rate_hz: int) -> None:
    source = resample(speech_like(6.0), RATE_HZ, source_rate_hz)
    measured = clipping_ratio(resample(clipped(source, 0.05), source_rate_hz, RATE_HZ))
    assert measured == pytest.approx(0.05, rel=0.5)


def test_one_polarity_is_enough() -> None:
    speech = speech_like(6.0)
    rail = np.quantile(speech, 0.97)
    assert clipping_ratio(np.minimum(speech, rail)) == pytest.approx(0.03, rel=0.35)


def test_more_clipping_gives_a_higher_ratio_on_real_speech() -> None:
    speech = shared_recording("speech-en/LJ001-0001.wav")
    ratios = [clipping_ratio(clipped(speech, share)) for share in (0.001, 0.01, 0.05, 0.1)]
    assert clipping_ratio(speech) <= 1e-4
    assert ratios == sorted(ratios)
    assert ratios[1:] == pytest.approx([0.01, 0.05, 0.1], rel=0.25)


@pytest.mark.parametrize("samples", [np.zeros(24_000, np.float32), np.ones(10, np.float32)])
def test_silence_and_scraps_have_none(samples: Waveform) -> None:
    assert clipping_ratio(samples) == 0.0
