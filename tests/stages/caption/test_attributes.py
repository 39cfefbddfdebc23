"""Attribute captions follow the audio and what earlier stages measured."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from schemas.codes import Waveform
from schemas.verdict import Keep
from stages.caption.attributes import AttributeCaption, AttributeCaptionSpec
from stages.caption.grammar import stated_levels
from tests.stages.caption.synthetic_voice import RATE_HZ, synthetic_voice
from tests.stages.make_segment import make_segment

READ: dict[str, Any] = {
    "snr_db": 40.0,
    "bandwidth_hz": 8000.0,
    "rt60_s": 0.4,
    "speech_ratio": 1.0,
    "num_words": 8,
}


def judge(samples: Waveform, *, seed: int = 0, key: str = "a", **read: Any) -> Mapping[str, Any]:
    stage = AttributeCaption(AttributeCaptionSpec(seed=seed))
    stage.open()
    segment = make_segment(samples=samples, key=key, **(READ | read))
    (verdict,) = stage.process([segment])
    assert isinstance(verdict, Keep)
    assert verdict.values.keys() == stage.writes
    return verdict.values


def stated(values: Mapping[str, Any], view: str, attribute: str) -> str:
    """The level that both languages state of an attribute."""
    levels = {
        level
        for language in ("en", "zh")
        for level in stated_levels(attribute, values[f"caption_{view}_{language}"], language)
    }
    (level,) = levels
    return level


def test_low_and_high_voices_are_called_so() -> None:
    low = judge(synthetic_voice(pitch_hz=115))
    high = judge(synthetic_voice(pitch_hz=225))
    assert stated(low, "voice", "pitch") == "low"
    assert stated(high, "voice", "pitch") == "high"
    assert low["pitch_hz"] < high["pitch_hz"]


def test_slow_and_fast_speech_are_called_so() -> None:
    slow = judge(synthetic_voice(syllables_per_s=2.2, seconds=6))
    fast = judge(synthetic_voice(syllables_per_s=6.5, seconds=6))
    assert stated(slow, "style", "pace") == "slow"
    assert stated(fast, "style", "pace") == "fast"
    assert slow["syllables_per_s"] < fast["syllables_per_s"]


def test_flat_and_lively_intonation_are_called_so() -> None:
    assert stated(judge(synthetic_voice(range_st=1)), "style", "intonation") == "flat"
    assert stated(judge(synthetic_voice(range_st=13)), "style", "intonation") == "lively"


def test_noise_room_and_band_come_from_what_earlier_stages_measured() -> None:
    voice = synthetic_voice()
    clean = judge(voice)
    assert stated(clean, "scene", "noise") == "none"
    assert stated(clean, "scene", "band") == "wide"
    rough = judge(voice, snr_db=3.0, rt60_s=1.5, bandwidth_hz=3400.0)
    assert stated(rough, "scene", "noise") == "loud"
    assert stated(rough, "scene", "room") == "hall"
    assert stated(rough, "scene", "band") == "telephone"
    unknown = judge(voice, snr_db=None, rt60_s=None, bandwidth_hz=None, speech_ratio=None)
    assert stated_levels("noise", unknown["caption_scene_en"], "en") == set()


def test_words_per_second_needs_a_transcript() -> None:
    voice = synthetic_voice(seconds=4)
    assert judge(voice, num_words=10)["words_per_s"] == pytest.approx(2.5)
    assert judge(voice, num_words=0)["words_per_s"] == 0
    assert judge(voice, num_words=None)["words_per_s"] is None


def test_the_same_segment_gets_the_same_caption_and_another_seed_other_words() -> None:
    voice = synthetic_voice()
    assert judge(voice) == judge(voice.copy())
    captions = {judge(voice, seed=seed)["caption_style_en"] for seed in range(8)}
    assert len(captions) > 2
    assert len({judge(voice, key=key)["caption_style_en"] for key in "abcdefgh"}) > 2


def test_a_batch_changes_nothing() -> None:
    segments = [
        make_segment(samples=synthetic_voice(pitch_hz=hz, seconds=s), key=str(hz), **READ)
        for hz, s in ((100, 2.0), (200, 5.0), (300, 3.0))
    ]
    stage = AttributeCaption(AttributeCaptionSpec())
    stage.open()
    assert stage.process(segments) == [stage.process([segment])[0] for segment in segments]


def test_silence_gets_captions_that_claim_no_voice() -> None:
    values = judge(np.zeros(RATE_HZ, np.float32), speech_ratio=0.0, num_words=0)
    assert values["pitch_hz"] is None
    assert "voice" in values["caption_voice_en"]
    assert stated_levels("pitch", values["caption_voice_en"], "en") == set()


def test_a_timeline_of_another_rate_measures_the_same() -> None:
    voice = synthetic_voice(pitch_hz=140)
    segment = make_segment(samples=np.repeat(voice, 3), rate_hz=3 * RATE_HZ, **READ)
    stage = AttributeCaption(AttributeCaptionSpec())
    (verdict,) = stage.process([segment])
    assert verdict.values["pitch_hz"] == pytest.approx(judge(voice)["pitch_hz"], rel=0.01)
