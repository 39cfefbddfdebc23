"""The mel spectrogram of the P.808 model, against the one that it was trained on."""

import numpy as np
import pytest

from stages.mos.p808_mel import HOP_SAMPLES, RATE_HZ, p808_mel
from tests.stages.recorded import speech_like


@pytest.mark.parametrize("kind", ["noise", "speech", "faint", "silence"])
def test_mel_agrees_with_librosas(kind: str) -> None:
    librosa = pytest.importorskip("librosa")
    rng = np.random.default_rng(0)
    samples = {
        "noise": (0.05 * rng.standard_normal(2 * RATE_HZ)).astype(np.float32),
        "speech": speech_like(2.0, rate_hz=RATE_HZ),
        "faint": (1e-4 * rng.standard_normal(2 * RATE_HZ)).astype(np.float32),
        "silence": np.zeros(2 * RATE_HZ, np.float32),
    }[kind]
    power = librosa.feature.melspectrogram(
        y=samples, sr=RATE_HZ, n_fft=321, hop_length=HOP_SAMPLES, n_mels=120
    )
    expected = (librosa.power_to_db(power, ref=np.max) + 40) / 40
    mel = p808_mel(samples)
    assert mel.dtype == np.float32
    np.testing.assert_allclose(mel, expected.T, atol=2e-4)
