"""The caption endpoint's sentences stand only where the measurements allow them."""

from collections.abc import Mapping
from typing import Any

import pytest

from schemas.errors import ItemError
from schemas.verdict import Keep
from stages.caption.attributes import AttributeCaption, AttributeCaptionSpec
from stages.caption.endpoint import EndpointCaption, EndpointCaptionSpec, complaint
from stages.caption.facts import SCALES
from stages.caption.grammar import captions
from tests.stages.caption.synthetic_voice import synthetic_voice
from tests.stages.endpoint_server import Reply, loopback, said
from tests.stages.make_segment import make_segment

# A low voice at a moderate pace over a telephone line in loud noise.
SEGMENT = make_segment(
    samples=synthetic_voice(pitch_hz=115, syllables_per_s=4, range_st=6),
    snr_db=4.0,
    bandwidth_hz=3400.0,
    rt60_s=0.4,
    speech_ratio=0.8,
    num_words=8,
)
FITTING = {
    "voice_en": "Somebody talks in a low voice.",
    "voice_zh": "说话人声音低沉。",
    "style_en": "The words flow without haste or hurry.",
    "style_zh": "说话不紧不慢。",
    "scene_en": "It sounds like a call over the phone from a noisy street.",
    "scene_zh": "听起来像嘈杂环境里的电话。",
}


def judge(answer: Mapping[str, str] | Reply) -> tuple[Mapping[str, Any], Any, EndpointCaption]:
    with loopback(answer if isinstance(answer, Reply) else said(dict(answer))) as endpoint:
        spec = EndpointCaptionSpec(base_url=endpoint.base_url, model="m", max_attempts=1)
        stage = EndpointCaption(spec)
        stage.open()
        try:
            (verdict,) = stage.process([SEGMENT])
        finally:
            stage.close()
    assert isinstance(verdict, Keep)
    assert verdict.values.keys() == stage.writes == AttributeCaption.writes
    return verdict.values, endpoint, stage


def embedded() -> Mapping[str, Any]:
    stage = AttributeCaption(AttributeCaptionSpec())
    stage.open()
    return stage.process([SEGMENT])[0].values


def test_sentences_that_fit_the_measurements_stand() -> None:
    values, endpoint, stage = judge(FITTING)
    for name, sentence in FITTING.items():
        assert values[f"caption_{name}"] == sentence
    assert (stage.num_views, stage.num_replaced) == (3, 0)
    for name in AttributeCaption.writes - {f"caption_{name}" for name in FITTING}:
        assert values[name] == embedded()[name]
    material = endpoint.material()
    assert material["facts"]["pitch"] == "low"
    assert material["facts"]["band"] == "telephone"
    assert material["scales"]["pitch"] == list(SCALES["pitch"].levels)
    assert material["measures"]["pitch_hz"] == pytest.approx(115, rel=0.03)
    assert material["measures"]["snr_db"] == 4.0


@pytest.mark.parametrize(
    ("view", "wrong"),
    [
        ("voice", {"voice_en": "A very high-pitched voice."}),
        ("voice", {"voice_zh": "说话人声音尖细。"}),
        ("voice", {"voice_en": "A man with a low voice."}),
        ("voice", {"voice_zh": "一位男士在说话。"}),
        ("voice", {"voice_en": "A low voice, crisp and clear."}),  # brightness was not measurable
        ("scene", {"scene_en": "A studio-clean recording."}),
        ("scene", {"scene_zh": "毫无噪声的录音。"}),
        ("scene", {"scene_en": "Recorded in high fidelity."}),
        ("style", {"style_en": "   "}),
    ],
)
def test_a_view_that_does_not_fit_is_replaced_in_both_languages(
    view: str, wrong: dict[str, str]
) -> None:
    values, _, stage = judge(FITTING | wrong)
    assert (stage.num_views, stage.num_replaced) == (3, 1)
    for name, sentence in FITTING.items():
        column = f"caption_{name}"
        is_replaced = name.startswith(view)
        assert values[column] == (embedded()[column] if is_replaced else sentence)


def test_our_own_captions_pass_the_check() -> None:
    for attribute, scale in SCALES.items():
        for level in scale.levels:
            facts = {attribute: level}
            for language in ("en", "zh"):
                sentence = captions(facts, key="a", seed=0)[f"caption_{scale.view}_{language}"]
                assert complaint(scale.view, language, sentence, facts) is None


def test_a_neighbouring_level_is_a_matter_of_taste() -> None:
    assert complaint("voice", "en", "It is medium-pitched.", {"pitch": "low"}) is None
    assert "measured was low" in str(
        complaint("voice", "en", "It is fairly high-pitched.", {"pitch": "low"})
    )


@pytest.mark.parametrize(
    "answer", [{"voice_en": "low"}, FITTING | {"scene_en": ""}, FITTING | {"mood": "sad"}]
)
def test_an_answer_out_of_schema_fails_the_segment(answer: dict[str, str]) -> None:
    with pytest.raises(ItemError, match="out of schema"):
        judge(answer)


def test_an_endpoint_that_is_out_fails_the_segment_instead_of_hiding_behind_attributes() -> None:
    with pytest.raises(ItemError, match="status 503"):
        judge(Reply(503))


def test_the_engine_names_model_prompt_and_the_grammar_that_checks_it() -> None:
    spec = EndpointCaptionSpec(base_url="http://a/v1", model="writer")
    for part in ("model writer", "prompt-", "grammar-"):
        assert part in EndpointCaption(spec).describe()
