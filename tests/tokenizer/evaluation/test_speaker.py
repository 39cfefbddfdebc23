"""Embeddings of the GE2E encoder: who speaks, at any level."""

import numpy as np
import pytest

from schemas.codes import Waveform
from tests.tokenizer.make_sound import make_sound
from tokenizer.evaluation.speaker import SpeakerEncoder

RATE_HZ = 24_000


@pytest.fixture(scope="module")
def encoder() -> SpeakerEncoder:
    return SpeakerEncoder()


def clip(seconds: float, seed: int) -> Waveform:
    samples: Waveform = make_sound(int(seconds * RATE_HZ), seed=seed).numpy()
    return samples


@pytest.mark.parametrize("seconds", [0.3, 1.6, 5.0])
def test_a_clip_is_like_itself_at_any_level(encoder: SpeakerEncoder, seconds: float) -> None:
    samples = clip(seconds, seed=1)
    embedding = encoder.embed(samples, RATE_HZ)
    assert embedding.shape == (256,)
    assert np.linalg.norm(embedding) == pytest.approx(1.0)
    assert encoder.similarity(samples, samples * 0.1, RATE_HZ) == pytest.approx(1.0, abs=1e-4)


def test_another_sound_is_less_like_it(encoder: SpeakerEncoder) -> None:
    one, other = clip(3.0, seed=1), clip(3.0, seed=4)
    assert encoder.similarity(one, other, RATE_HZ) < 0.95


def test_silence_is_like_nothing(encoder: SpeakerEncoder) -> None:
    silence = np.zeros(RATE_HZ, np.float32)
    assert encoder.similarity(silence, clip(1.0, seed=1), RATE_HZ) == 0.0
