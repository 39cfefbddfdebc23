"""Normalization: one rate, one loudness, one gain that never clips."""

from typing import Any

import numpy as np
import pytest

from schemas.errors import ItemError
from schemas.verdict import Keep
from stages.audio import Audio
from stages.base import Recording
from stages.loudness import integrated_loudness_lufs, true_peak_dbtp
from stages.normalize import Bs1770Normalize
from tests.stages.media_files import Samples, sine
from tests.stages.recorded import speech_like


def normalize(samples: Samples, rate_hz: int = 24_000, **spec: Any) -> dict[str, Any]:
    stage = Bs1770Normalize(Bs1770Normalize.Spec(**spec))
    audio = Audio(samples.astype(np.float32), rate_hz)
    verdict = stage.process(Recording("s", "r", "u", {"audio": audio}))
    assert isinstance(verdict, Keep)
    assert verdict.values.keys() == Bs1770Normalize.writes
    return dict(verdict.values)


@pytest.mark.parametrize("level", [0.02, 1.0, 3.0])
def test_speech_of_any_level_comes_to_the_target(level: float) -> None:
    values = normalize(speech_like(4.0) * level, target_lufs=-26.0)
    samples = values["audio"].samples
    assert integrated_loudness_lufs(samples, 24_000) == pytest.approx(-26.0, abs=0.01)
    assert values["loudness_lufs"] + values["gain_db"] == pytest.approx(-26.0)


def test_the_true_peak_stops_the_gain_before_the_target_does() -> None:
    speech = speech_like(4.0)
    speech[50_000] = 1.0
    values = normalize(speech * 0.1)
    assert true_peak_dbtp(values["audio"].samples) == pytest.approx(-1.0, abs=0.01)
    assert values["true_peak_dbtp"] + values["gain_db"] == pytest.approx(-1.0)
    assert values["loudness_lufs"] + values["gain_db"] < -23.0


def test_nearly_nothing_is_not_lifted_without_limit() -> None:
    assert normalize(speech_like(4.0) * 0.03, max_gain_db=20.0)["gain_db"] == 20.0


@pytest.mark.parametrize("samples", [np.zeros(48_000), sine(0.3, 24_000)])
def test_what_has_no_loudness_is_left_as_it_is(samples: Samples) -> None:
    values = normalize(samples)
    assert values["loudness_lufs"] is None
    assert values["gain_db"] == 0.0
    assert np.array_equal(values["audio"].samples, samples.astype(np.float32))


@pytest.mark.parametrize("rate_hz", [8_000, 11_024, 44_100, 48_000, 44_101, 192_000])
def test_any_rate_becomes_24_khz_of_the_same_length_and_pitch(rate_hz: int) -> None:
    values = normalize(sine(2, rate_hz, 1000.0), rate_hz)
    assert (values["sample_rate_hz"], values["num_samples"]) == (24_000, 48_000)
    assert values["duration_s"] == 2.0
    spectrum = np.abs(np.fft.rfft(values["audio"].samples[12_000:36_000]))
    assert spectrum.argmax() == 1000


def test_the_input_is_not_written_into() -> None:
    speech = speech_like(2.0)
    before = speech.copy()
    normalize(speech)
    assert np.array_equal(speech, before)


def test_no_samples_is_a_failure() -> None:
    with pytest.raises(ItemError, match="no samples") as raised:
        normalize(np.zeros(0))
    assert raised.value.error_class == "TOO_SHORT"


@pytest.mark.parametrize(
    "wrong", [{"target_lufs": 23.0}, {"max_true_peak_dbtp": 0.9}, {"sample_rate_hz": 16_000}]
)
def test_a_parameter_in_another_unit_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Bs1770Normalize.Spec(**wrong)
