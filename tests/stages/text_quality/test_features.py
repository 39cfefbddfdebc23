"""Feature scores follow the dialogue: they rank our calibration sentences and move as promised."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from scipy.stats import spearmanr

from schemas.verdict import Keep
from stages.text_quality.features import FeatureTextQuality, FeatureTextQualitySpec
from stages.text_quality.lexicon import lexicon
from stages.text_quality.scores import is_rare
from tests.stages.make_segment import make_dialogue

SCORES = ("conversational_quality", "knowledge_density", "logical_reasoning")
CALIBRATION: list[dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("calibration.yaml").read_text(encoding="utf-8")
)


def score(*lines: tuple[str, str | None], own: int = 0, **spec: Any) -> Mapping[str, Any]:
    stage = FeatureTextQuality(FeatureTextQualitySpec(**spec))
    stage.open()
    verdict = stage.process(make_dialogue(lines))[own]
    assert isinstance(verdict, Keep)
    assert verdict.values.keys() == stage.writes
    return verdict.values


def calibrated(case: dict[str, Any]) -> list[float]:
    own = next(i for i, (_, text) in enumerate(case["lines"]) if text.startswith("*"))
    lines = [(speaker, text.removeprefix("*")) for speaker, text in case["lines"]]
    values = score(*lines, own=own)
    return [values[name] for name in SCORES]


@pytest.mark.parametrize("case", CALIBRATION, ids=lambda case: case["name"])
def test_scores_lie_within_one_point_of_a_listener(case: dict[str, Any]) -> None:
    for found, wanted in zip(calibrated(case), case["scores"], strict=True):
        assert found == pytest.approx(wanted, abs=1.0)


@pytest.mark.parametrize("index", range(3), ids=SCORES)
def test_scores_rank_the_calibration_sentences(index: int) -> None:
    found = [calibrated(case)[index] for case in CALIBRATION]
    wanted = [case["scores"][index] for case in CALIBRATION]
    assert spearmanr(found, wanted).statistic > 0.8


def test_an_empty_transcript_scores_zero_and_no_transcript_scores_nothing() -> None:
    assert score(("A", " ")) == dict.fromkeys(SCORES, 0.0)
    assert score(("A", "")) == dict.fromkeys(SCORES, 0.0)
    assert score(("A", None)) == dict.fromkeys(SCORES)


def test_a_segment_without_words_gains_nothing_from_its_neighbours() -> None:
    lines = [("A", "Why did the bridge close?"), ("B", ""), ("A", "Because of the flood, I think.")]
    assert score(*lines, own=1) == dict.fromkeys(SCORES, 0.0)


@pytest.mark.parametrize(
    "text",
    [
        "Die Katze schläft auf dem warmen Ofen und träumt von Mäusen",
        "Les enfants jouent dans le jardin derrière la maison blanche",
        "昨日は友達と一緒に映画を見に行きました",
        "кошка спит на тёплой печи",
    ],
)
def test_other_languages_get_no_score_instead_of_a_wrong_one(text: str) -> None:
    assert score(("A", text)) == dict.fromkeys(SCORES)


def test_the_same_words_converse_more_when_two_share_them() -> None:
    texts = ["where is the key", "it is on the table", "which table", "the one in the kitchen"]
    alone = score(*(("A", text) for text in texts))
    shared = score(*(("AB"[i % 2], text) for i, text in enumerate(texts)))
    assert shared["conversational_quality"] > alone["conversational_quality"] + 2
    assert shared["knowledge_density"] == alone["knowledge_density"]
    assert shared["logical_reasoning"] == alone["logical_reasoning"]


def test_a_question_that_the_other_answers_counts() -> None:
    asked = score(("A", "Where is the key?"), ("B", "It is on the table over there."))
    told = score(("A", "Here is the key."), ("B", "It is on the table over there."))
    assert asked["conversational_quality"] > told["conversational_quality"]
    # A transcript without punctuation asks by its first word.
    asked = score(("A", "where is the key"), ("B", "it is on the table over there"))
    told = score(("A", "there is the key"), ("B", "it is on the table over there"))
    assert asked["conversational_quality"] > told["conversational_quality"]


def test_context_reaches_as_far_as_the_spec_says() -> None:
    lines = [("B", "Are you there?"), ("A", "I am in the kitchen."), ("B", "Okay, I am coming.")]
    near = score(*lines, own=1, context_s=30.0)
    assert score(*lines, own=1, context_s=0.0) == near  # neighbours touch
    far = [*lines[:1], *[("A", None)] * 7, *lines[1:]]
    assert score(*far, own=8, context_s=20.0) == score(*lines[1:], own=0)


def test_terms_figures_and_names_tell_more_than_everyday_words() -> None:
    plain = "the old man walked down to the river and looked at the water for a long time"
    terms = (
        "the old hydrologist walked down to the estuary and sampled the sediment for a turbidity"
    )
    figures = "the old man walked 14 miles to the river and looked at 3 boats for 25 long minutes"
    names = "the old man walked down to the Danube and looked at Vienna with Anna for a long time"
    density = [score(("A", text))["knowledge_density"] for text in (plain, figures, names, terms)]
    assert density[0] < min(density[1:3])
    assert density[3] == max(density)


@pytest.mark.parametrize(
    ("plain", "argued"),
    [
        ("the road was wet and the car was slow", "because the road was wet the car was slow"),
        ("路很湿，车很慢，我们迟到了", "因为路很湿，所以车很慢，我们迟到了"),
        ("it rains and we stay at home today", "if it rains then we stay at home today"),
    ],
)
def test_connectives_argue_in_both_languages(plain: str, argued: str) -> None:
    assert score(("A", plain))["logical_reasoning"] == 0
    assert score(("A", argued))["logical_reasoning"] > 2


def test_a_connective_is_a_whole_word() -> None:
    assert score(("A", "a hifi and a wife and a thenar and a sofa"))["logical_reasoning"] == 0


@pytest.mark.parametrize("word", ["running", "stopped", "families", "happily", "bigger", "dog's"])
def test_forms_of_everyday_words_are_everyday_words(word: str) -> None:
    assert not is_rare(word, lexicon())


@pytest.mark.parametrize("word", ["viscosity", "parliament", "photosynthesis"])
def test_terms_are_rare_words(word: str) -> None:
    assert is_rare(word, lexicon())


def test_the_engine_names_its_word_lists() -> None:
    assert FeatureTextQuality(FeatureTextQualitySpec()).describe().startswith("text-features 1 ")
