"""The safety endpoint's findings are placed in the audio and joined with the rules."""

from typing import Any

import pytest

from schemas.errors import ItemError
from schemas.spans import Word
from schemas.verdict import Keep
from stages.safety.endpoint import EndpointSafety, EndpointSafetySpec
from stages.safety.rules import RuleSafety
from tests.stages.endpoint_server import Reply, loopback, said
from tests.stages.make_segment import RATE_HZ, make_segment

NOTHING: dict[str, Any] = {"flags": [], "personal": []}


def judge(
    text: str | None, answer: Any, words: list[Word] | None = None
) -> tuple[dict[str, Any], int]:
    """Values, and how many requests it took."""
    with loopback(answer if isinstance(answer, Reply) else said(answer)) as endpoint:
        spec = EndpointSafetySpec(base_url=endpoint.base_url, model="m", max_attempts=1)
        stage = EndpointSafety(spec)
        stage.open()
        try:
            (verdict,) = stage.process([make_segment(text, words=words)])
        finally:
            stage.close()
    assert isinstance(verdict, Keep)
    assert verdict.values.keys() == stage.writes == RuleSafety.writes
    return dict(verdict.values), len(endpoint.requests)


def test_quotes_are_placed_through_the_words() -> None:
    words = [Word(w, i * 100, (i + 1) * 100, 1.0) for i, w in enumerate("i am Jo Doe ok".split())]  # noqa: SIM905
    answer = NOTHING | {"personal": [{"kind": "person_name", "quote": "jo doe"}]}
    values, _ = judge("I am Jo Doe, ok?", answer, words)
    assert values["pii_kinds"] == ["person_name"]
    assert values["safety_spans"] == [
        {"kind": "person_name", "start_sample": 200, "end_sample": 400}
    ]


def test_a_quote_that_does_not_stand_there_marks_the_whole_segment() -> None:
    answer = NOTHING | {"flags": [{"kind": "self_harm", "quote": "something else"}]}
    values, _ = judge("I feel very low.", answer)
    assert values["safety_flags"] == ["self_harm"]
    assert values["safety_spans"] == [
        {"kind": "self_harm", "start_sample": 0, "end_sample": RATE_HZ}
    ]


def test_the_rules_find_personal_data_that_the_model_overlooked_but_raise_no_flags() -> None:
    values, _ = judge("In the film he says I'll kill you, a@example.com.", NOTHING)
    assert values["pii_kinds"] == ["email"]
    assert values["safety_flags"] == []


@pytest.mark.parametrize(("text", "values"), [("", []), ("  ", []), (None, None)])
def test_nothing_said_is_not_asked_about(text: str | None, values: list[str] | None) -> None:
    found, num_requests = judge(text, NOTHING)
    assert found == dict.fromkeys(EndpointSafety.writes, values)
    assert num_requests == 0


@pytest.mark.parametrize(
    "answer",
    [
        {"flags": []},
        NOTHING | {"flags": [{"kind": "rude", "quote": "x"}]},
        NOTHING | {"personal": [{"kind": "phone"}]},
        Reply(503),
    ],
)
def test_an_answer_out_of_schema_or_none_fails_the_segment(answer: Any) -> None:
    with pytest.raises(ItemError) as caught:
        judge("hello there", answer)
    assert caught.value.error_class == "ENDPOINT_ERROR"
    assert "hello there" not in str(caught.value)
