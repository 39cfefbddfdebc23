"""Metrics against what they must say of equal, noisy, silent and short clips."""

import math
import sys
from typing import Literal

import numpy as np
import pytest

from schemas.codes import Waveform
from tests.tokenizer.make_sound import make_sound
from tokenizer import Tokenizer
from tokenizer.evaluation.metrics import (
    UnscorableError,
    has_pesq,
    mel_distance,
    pesq,
    stoi,
)
from tokenizer.evaluation.scores import Scorer
from tokenizer.mel import LogMel

RATE_HZ = 24_000
needs_pesq = pytest.mark.skipif(not has_pesq(), reason="pesq wants a C compiler")


def clip(seconds: float, seed: int = 0) -> Waveform:
    samples: Waveform = make_sound(int(seconds * RATE_HZ), seed=seed).numpy()
    return samples


def noisy(samples: Waveform, level: float) -> Waveform:
    noise = np.random.default_rng(9).standard_normal(samples.shape[0], dtype=np.float32)
    return samples + np.float32(level) * noise


@needs_pesq
@pytest.mark.parametrize("band", ["wb", "nb"])
def test_pesq_is_best_for_equal_clips_and_falls_with_noise(band: Literal["wb", "nb"]) -> None:
    original = clip(2.0)
    scores = [pesq(original, noisy(original, level), RATE_HZ, band) for level in (0.0, 0.01, 0.1)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 4.5
    assert scores[2] < scores[0] - 1


@needs_pesq
def test_pesq_of_a_long_clip_is_the_mean_of_its_parts() -> None:
    parts = [clip(15.0, seed) for seed in (1, 2)]
    worse = [noisy(part, 0.02) for part in parts]
    whole = pesq(np.concatenate(parts), np.concatenate(worse), RATE_HZ, "wb")
    alone = [pesq(*pair, RATE_HZ, "wb") for pair in zip(parts, worse, strict=True)]
    assert whole == pytest.approx(np.mean(alone), abs=0.05)


@needs_pesq
def test_minutes_of_utterances_are_scored() -> None:
    # Given whole, this ends the process: the package has room for 50 utterances.
    samples = np.random.default_rng(0).standard_normal(90 * RATE_HZ, dtype=np.float32) * 0.05
    bursts = samples * (np.arange(samples.shape[0]) // (RATE_HZ // 2) % 2)
    assert pesq(bursts.astype(np.float32), bursts.astype(np.float32), RATE_HZ, "nb") > 4


@needs_pesq
def test_pesq_of_silence_and_of_a_moment_is_not_defined() -> None:
    silence = np.zeros(RATE_HZ, np.float32)
    with pytest.raises(UnscorableError, match="pesq_wb: no utterance"):
        pesq(silence, silence, RATE_HZ, "wb")
    with pytest.raises(UnscorableError, match="pesq_nb: no utterance"):
        pesq(clip(0.1), clip(0.1), RATE_HZ, "nb")


def test_stoi_is_one_for_equal_clips_and_falls_with_noise() -> None:
    original = clip(2.0)
    scores = [stoi(original, noisy(original, level), RATE_HZ) for level in (0.0, 0.05, 0.5)]
    assert scores[0] == pytest.approx(1.0, abs=1e-3)
    assert scores[0] > scores[1] > scores[2]


def test_stoi_of_too_little_sound_is_not_defined() -> None:
    with pytest.raises(UnscorableError, match="stoi: less than"):
        stoi(clip(0.35), clip(0.35), RATE_HZ)


def test_mel_distance_of_half_the_level_is_log_two(tiny: Tokenizer) -> None:
    original, mel = clip(1.0), LogMel(tiny.spec)
    assert mel_distance(original, original, mel) == 0.0
    halved = original * np.float32(0.5)
    assert mel_distance(original, halved, mel) == pytest.approx(math.log(2), abs=1e-3)


def test_the_longer_clip_is_cut(tiny: Tokenizer) -> None:
    original, mel = clip(1.0), LogMel(tiny.spec)
    longer = np.concatenate([original, np.ones(500, np.float32)])
    assert stoi(original, longer, RATE_HZ) == stoi(original, original, RATE_HZ)
    assert mel_distance(longer, original, mel) == 0.0


def test_what_is_not_defined_is_none_with_a_note(tiny: Tokenizer) -> None:
    scores = Scorer(tiny.spec).score(clip(0.35), clip(0.35))
    assert scores.stoi is None
    assert "stoi: less than 0.4 s of sound" in scores.notes
    assert scores.speaker_similarity == pytest.approx(1.0)


def test_without_its_package_pesq_is_none(tiny: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pesq", None)
    assert not has_pesq()
    scores = Scorer(tiny.spec).score(clip(1.0), clip(1.0))
    assert scores.pesq_wb is None
    assert scores.pesq_nb is None
    assert scores.stoi == pytest.approx(1.0, abs=1e-3)
