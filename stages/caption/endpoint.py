"""Captions worded by a language model behind an endpoint, held to what was measured."""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from schemas.verdict import Keep, Verdict
from stages.base import Segment, StageSpec
from stages.caption.attributes import CAPTIONS, READS, AttributeCaption, measure_segment
from stages.caption.facts import SCALES, VIEWS, Facts, contradicts
from stages.caption.grammar import LANGUAGES, captions, grammar, grammar_digest, stated_levels
from stages.endpoint_client import Answer, EndpointSpec, Question, prompt_digest
from stages.endpoint_stage import EndpointStage

_PROMPT = Path(__file__).with_name("prompt.md")
_MAX_CHARACTERS = 400
_LOG = logging.getLogger(__name__)


class EndpointCaptionSpec(EndpointSpec):
    pass


class CaptionAnswer(Answer):
    """What the model is asked for."""

    voice_en: str = Field(min_length=1, max_length=_MAX_CHARACTERS)
    voice_zh: str = Field(min_length=1, max_length=_MAX_CHARACTERS)
    style_en: str = Field(min_length=1, max_length=_MAX_CHARACTERS)
    style_zh: str = Field(min_length=1, max_length=_MAX_CHARACTERS)
    scene_en: str = Field(min_length=1, max_length=_MAX_CHARACTERS)
    scene_zh: str = Field(min_length=1, max_length=_MAX_CHARACTERS)


class EndpointCaption(EndpointStage):
    """Measures like the attribute engine; a model words the facts, and every view is checked.

    A view whose sentence contradicts the measurements, speaks of what was not measured, or claims a
    sex or an age is replaced, in both languages, by the caption of the attribute engine. How many
    were is logged when the stage is closed. Raises `ItemError` ENDPOINT_ERROR where the endpoint
    fails or answers out of schema.
    """

    name: ClassVar[str] = "caption"
    engine: ClassVar[str] = "endpoint"
    Spec: ClassVar[type[StageSpec]] = EndpointCaptionSpec
    reads: ClassVar[frozenset[str]] = AttributeCaption.reads
    writes: ClassVar[frozenset[str]] = AttributeCaption.writes
    # Eight requests in flight, ten seconds a segment, one second an answer; the measuring
    # itself runs at the attribute engine's speed.
    speed_x_real_time: ClassVar[float] = 50.0

    def __init__(self, spec: EndpointCaptionSpec) -> None:
        super().__init__(spec)
        self._instructions = _PROMPT.read_text(encoding="utf-8")
        self.num_views = 0
        self.num_replaced = 0

    def describe(self) -> str:
        prompt = prompt_digest(self._instructions)
        return (
            f"caption-endpoint 1 prompt-{prompt} model {self.spec.model}, "
            f"checked against attribute-captions 1 grammar-{grammar_digest()}"
        )

    def open(self) -> None:
        super().open()
        grammar()

    def close(self) -> None:
        super().close()
        _LOG.info("%d of %d views replaced by attributes", self.num_replaced, self.num_views)

    def process(self, batch: Sequence[Segment]) -> list[Verdict]:
        measured = [measure_segment(segment) for segment in batch]
        questions = [
            self._question(segment, columns, facts)
            for segment, (columns, facts) in zip(batch, measured, strict=True)
        ]
        answers = self.client.ask_all(questions)
        return [
            Keep(columns | self._checked(answer, facts, segment.segment_id))
            for segment, (columns, facts), answer in zip(batch, measured, answers, strict=True)
        ]

    def _question(
        self, segment: Segment, columns: Mapping[str, Any], facts: Facts
    ) -> Question[CaptionAnswer]:
        figures = {name: segment.values[name] for name in READS} | dict(columns)
        material = {
            "facts": dict(facts),
            "scales": {attribute: list(SCALES[attribute].levels) for attribute in facts},
            # Three figures: what lies behind them may differ between machines, and an answer that
            # is looked up by its question should be found on the next one.
            "measures": {
                name: float(f"{value:.3g}")
                for name, value in sorted(figures.items())
                if value is not None
            },
        }
        return Question(self._instructions, material, CaptionAnswer)

    def _checked(self, answer: CaptionAnswer, facts: Facts, segment_id: str) -> dict[str, str]:
        worded = {f"caption_{name}": text.strip() for name, text in answer.model_dump().items()}
        measured = captions(facts, key=segment_id, seed=self.spec.seed)
        for view in VIEWS:
            self.num_views += 1
            names = {language: f"caption_{view}_{language}" for language in LANGUAGES}
            if any(
                complaint(view, language, worded[name], facts) for language, name in names.items()
            ):
                self.num_replaced += 1
                worded |= {name: measured[name] for name in names.values()}
        return {name: worded[name] for name in CAPTIONS}


def complaint(view: str, language: str, sentence: str, facts: Facts) -> str | None:
    """What is wrong with a sentence, by the words that the grammar knows; None for nothing."""
    if not sentence.strip():
        return "says nothing"
    for claim in grammar()["never"][language]:
        pattern = rf"\b{claim}\b" if language == "en" else claim
        if re.search(pattern, sentence, re.IGNORECASE):
            return f"claims {claim!r}, which nobody measured"
    for attribute in (a for a, scale in SCALES.items() if scale.view == view):
        stated = stated_levels(attribute, sentence, language)
        if attribute not in facts and stated:
            return f"speaks of {attribute}, which was not measured"
        for level in sorted(stated):
            if contradicts(facts[attribute], attribute, level):
                return f"calls {attribute} {level}, measured was {facts[attribute]}"
    return None
