"""The text-quality endpoint sees the dialogue, and fails where the model does."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.errors import ItemError
from schemas.verdict import Keep
from stages.text_quality.endpoint import EndpointTextQuality, EndpointTextQualitySpec
from stages.text_quality.features import FeatureTextQuality
from tests.stages.endpoint_server import Endpoint, Reply, loopback, said
from tests.stages.make_segment import make_dialogue

GOOD = {"conversational_quality": 4.5, "knowledge_density": 1.0, "logical_reasoning": 0}
LINES: list[tuple[str, str | None]] = [
    ("A", "Where is the key?"),
    ("B", "On the table."),
    ("A", "I cannot see it."),
]


def opened(endpoint: Endpoint, **spec: Any) -> EndpointTextQuality:
    stage = EndpointTextQuality(
        EndpointTextQualitySpec.model_validate(
            {"base_url": endpoint.base_url, "model": "judge", "backoff_s": 0.0} | spec
        )
    )
    stage.open()
    return stage


def by_line(answer: Callable[[str], Reply]) -> Callable[[dict[str, Any]], Reply]:
    """Answers by the text of the line that is rated."""

    def reply(request: dict[str, Any]) -> Reply:
        own = request["messages"][1]["content"].split('"own": true')[0].rsplit('"text": ', 1)[1]
        return answer(own)

    return reply


def test_it_writes_what_the_embedded_engine_writes() -> None:
    assert EndpointTextQuality.reads == FeatureTextQuality.reads
    assert EndpointTextQuality.writes == FeatureTextQuality.writes
    assert EndpointTextQuality.batch_by == FeatureTextQuality.batch_by
    with loopback(said(GOOD)) as endpoint:
        stage = opened(endpoint)
        verdicts = stage.process(make_dialogue(LINES))
        stage.close()
    assert verdicts == [Keep(GOOD)] * 3
    assert "model judge" in stage.describe()
    assert "prompt-" in stage.describe()


def test_the_model_sees_who_says_what_around_the_line_that_it_rates() -> None:
    with loopback(said(GOOD)) as endpoint:
        stage = opened(endpoint, max_in_flight=1)
        stage.process(make_dialogue(LINES))
        stage.close()
    assert endpoint.material(1) == {
        "dialogue": [
            {"speaker": "A", "text": "Where is the key?", "own": False},
            {"speaker": "B", "text": "On the table.", "own": True},
            {"speaker": "A", "text": "I cannot see it.", "own": False},
        ]
    }


def test_nothing_said_is_not_asked_about() -> None:
    with loopback(said(GOOD)) as endpoint:
        stage = opened(endpoint)
        verdicts = stage.process(make_dialogue([("A", ""), ("B", None), ("A", "Hello there.")]))
        stage.close()
    assert verdicts[0] == Keep(dict.fromkeys(GOOD, 0.0))
    assert verdicts[1] == Keep(dict.fromkeys(GOOD))
    assert verdicts[2] == Keep(GOOD)
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize("score", [5.1, -1, "4", None])
def test_a_score_off_the_scale_fails_the_segment(score: Any) -> None:
    with loopback(said(GOOD | {"knowledge_density": score})) as endpoint:
        stage = opened(endpoint)
        with pytest.raises(ItemError, match="out of schema: knowledge_density"):
            stage.process(make_dialogue(LINES[:1]))
        stage.close()


def test_a_batch_that_is_split_asks_what_the_whole_asked() -> None:
    bad = by_line(lambda line: Reply(400) if "table" in line else said(GOOD))
    segments = make_dialogue(LINES)
    with loopback(bad) as endpoint:
        stage = opened(endpoint)
        with pytest.raises(ItemError):
            stage.process(segments)
        num_requests = len(endpoint.requests)
        assert num_requests == 3
        assert stage.process(segments[:1]) == [Keep(GOOD)]
        assert stage.process(segments[2:]) == [Keep(GOOD)]
        stage.close()
    # The same windows, so the answers were known.
    assert len(endpoint.requests) == num_requests


def test_the_dialogue_that_is_shown_decides_the_fingerprint() -> None:
    def fingerprint(**spec: Any) -> str:
        base = {"base_url": "http://a/v1", "model": "m"}
        return EndpointTextQuality(
            EndpointTextQualitySpec.model_validate(base | spec)
        ).fingerprint()

    assert fingerprint(context_s=5.0) != fingerprint()


def test_a_spec_without_a_model_is_refused() -> None:
    with pytest.raises(ValidationError, match="model"):
        EndpointTextQualitySpec.model_validate({"base_url": "http://a/v1"})
