"""The language of a segment, from itself and from its recording."""

import pytest

from stages.asr.whisper_language import DetectedLanguage, decide_language, probabilities

SPANISH = {"es": 0.9, "pt": 0.08, "en": 0.02}


def test_a_sure_segment_is_not_outvoted() -> None:
    sure = {"en": 0.85, "es": 0.1, "pt": 0.05}
    assert decide_language(sure, [SPANISH] * 3) == DetectedLanguage("en", 0.85)


def test_an_unsure_segment_is_judged_together_with_its_recording() -> None:
    unsure = {"pt": 0.5, "es": 0.45, "en": 0.05}
    decided = decide_language(unsure, [SPANISH, SPANISH])
    assert decided.code == "es"
    assert decided.probability == pytest.approx((0.45 + 0.9) / 2)


def test_without_a_context_the_segment_decides() -> None:
    assert decide_language({"pt": 0.5, "es": 0.45}, []) == DetectedLanguage("pt", 0.5)


def test_language_tokens_become_codes() -> None:
    assert probabilities([("<|yue|>", 0.7), ("<|zh|>", 0.3)]) == {"yue": 0.7, "zh": 0.3}
