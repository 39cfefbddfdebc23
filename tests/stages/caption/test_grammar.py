"""Captions state the facts, all of them, the same ones in English and in Chinese."""

import itertools
import random

import pytest

from stages.caption.facts import SCALES, VIEWS, contradicts, facts_of
from stages.caption.grammar import LANGUAGES, captions, grammar, stated_levels, worth_saying

MEASURES: dict[str, float | None] = {
    "pitch_hz": 120.0,
    "spectral_tilt_db": -8.0,
    "syllables_per_s": 4.0,
    "pitch_range_st": 6.0,
    "loudness_range_db": 12.0,
    "speech_ratio": 0.8,
    "snr_db": 40.0,
    "rt60_s": 0.2,
    "bandwidth_hz": 8000.0,
}


def all_facts() -> list[dict[str, str]]:
    """Every level of every attribute, with 400 drawn combinations, some of them incomplete."""
    drawn = random.Random(0)
    combinations = [{a: level} for a, scale in SCALES.items() for level in scale.levels]
    for _ in range(400):
        chosen = [a for a in SCALES if drawn.random() < 0.8]
        combinations.append({a: drawn.choice(SCALES[a].levels) for a in chosen})
    return combinations


def test_a_caption_reads_back_into_exactly_its_facts_in_both_languages() -> None:
    for number, facts in enumerate(all_facts()):
        stated = captions(facts, key=str(number), seed=0)
        said = worth_saying(facts)
        for attribute, scale in SCALES.items():
            wanted = {said[attribute]} if attribute in said else set()
            for language in LANGUAGES:
                sentence = stated[f"caption_{scale.view}_{language}"]
                assert stated_levels(attribute, sentence, language) == wanted, sentence


def test_both_languages_word_the_same_levels() -> None:
    for view in VIEWS:
        for attribute in (a for a, scale in SCALES.items() if scale.view == view):
            words = grammar()[view][attribute]
            assert tuple(words) == SCALES[attribute].levels
            for level in words.values():
                assert bool(level["en"]) == bool(level["zh"])


def test_english_captions_are_one_sentence_without_leftovers() -> None:
    for number, facts in enumerate(all_facts()):
        for name, sentence in captions(facts, key=str(number), seed=1).items():
            assert "{" not in sentence
            assert sentence.endswith("。" if name.endswith("zh") else ".")


def test_no_caption_claims_a_sex_or_an_age() -> None:
    claims = {"man", "woman", "male", "female", "boy", "girl", "old", "young", "elderly", "child"}
    for words in itertools.chain.from_iterable(
        captions(facts, key=str(n), seed=0).values() for n, facts in enumerate(all_facts())
    ):
        assert not claims & set(words.lower().strip(".").replace(",", "").split())
        assert not any(claim in words for claim in ("男", "女", "老人", "年轻", "孩"))


def test_key_and_seed_draw_the_words_and_nothing_else_does() -> None:
    facts = facts_of(MEASURES)
    assert captions(facts, key="a", seed=0) == captions(dict(facts), key="a", seed=0)
    by_key = {captions(facts, key=str(n), seed=0)["caption_voice_en"] for n in range(50)}
    by_seed = {captions(facts, key="a", seed=n)["caption_voice_en"] for n in range(50)}
    assert len(by_key) > 5
    assert len(by_seed) > 5


@pytest.mark.parametrize(
    ("measure", "low", "high", "attribute"),
    [
        ("pitch_hz", 100.0, 230.0, "pitch"),
        ("syllables_per_s", 2.0, 7.0, "pace"),
        ("pitch_range_st", 1.0, 14.0, "intonation"),
        ("snr_db", 3.0, 45.0, "noise"),
        ("rt60_s", 0.1, 1.4, "room"),
        ("bandwidth_hz", 3400.0, 11_000.0, "band"),
        ("speech_ratio", 0.3, 0.99, "pauses"),
    ],
)
def test_levels_follow_the_measurements(
    measure: str, low: float, high: float, attribute: str
) -> None:
    below = facts_of(MEASURES | {measure: low})[attribute]
    above = facts_of(MEASURES | {measure: high})[attribute]
    levels = SCALES[attribute].levels
    assert levels.index(below) < levels.index(above)


def test_what_was_not_measured_is_not_spoken_of() -> None:
    for attribute, scale in SCALES.items():
        facts = facts_of(MEASURES | {scale.measure: None})
        assert attribute not in facts
    nothing = captions(facts_of(dict.fromkeys(MEASURES)), key="a", seed=0)
    assert nothing["caption_voice_en"] in grammar()["voice"]["silent"]["en"]
    assert nothing["caption_scene_zh"] in grammar()["scene"]["silent"]["zh"]


def test_without_speech_or_pitch_no_voice_is_described() -> None:
    for without in ({"speech_ratio": 0.02}, {"pitch_hz": None}):
        facts = facts_of(MEASURES | without)
        assert {SCALES[attribute].view for attribute in facts} == {"scene"}


@pytest.mark.parametrize("spoiled", [{"bandwidth_hz": 3400.0}, {"snr_db": 0.0}])
def test_brightness_is_not_told_from_a_telephone_line_or_from_noise(
    spoiled: dict[str, float],
) -> None:
    assert "brightness" in facts_of(MEASURES)
    assert "brightness" not in facts_of(MEASURES | spoiled)


def test_only_a_level_beyond_the_next_contradicts() -> None:
    assert contradicts("low", "pitch", "high")
    assert contradicts("none", "noise", "loud")
    assert not contradicts("low", "pitch", "medium")
    assert not contradicts("low", "pitch", "low")
