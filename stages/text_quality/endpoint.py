"""Text scores from a language model behind an OpenAI-compatible endpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from schemas.verdict import Keep, Verdict
from stages.base import Segment, StageSpec
from stages.endpoint_client import Answer, EndpointSpec, Question, prompt_digest
from stages.endpoint_stage import EndpointStage
from stages.text_quality.features import FeatureTextQuality
from stages.text_quality.window import Line, window_around

_PROMPT = Path(__file__).with_name("prompt.md")


class EndpointTextQualitySpec(EndpointSpec):
    context_s: float = Field(default=30.0, ge=0, le=600)
    """Seconds before and after a segment whose dialogue is shown with it."""


class TextQualityAnswer(Answer):
    """What the model is asked for."""

    conversational_quality: float = Field(ge=0, le=5)
    knowledge_density: float = Field(ge=0, le=5)
    logical_reasoning: float = Field(ge=0, le=5)


class EndpointTextQuality(EndpointStage):
    """Scores 0 to 5 from a model that sees the speaker-tagged dialogue around each segment.

    An empty transcript scores 0 and no transcript gives null, both without asking. Raises
    `ItemError` ENDPOINT_ERROR where the endpoint fails or answers out of schema.
    """

    name: ClassVar[str] = "text_quality"
    engine: ClassVar[str] = "endpoint"
    Spec: ClassVar[type[StageSpec]] = EndpointTextQualitySpec
    reads: ClassVar[frozenset[str]] = FeatureTextQuality.reads
    writes: ClassVar[frozenset[str]] = FeatureTextQuality.writes
    # Eight requests in flight, ten seconds a segment, one second an answer; the client alone
    # does more than a thousand.
    speed_x_real_time: ClassVar[float] = 80.0
    batch_by: ClassVar[Literal["padded_seconds", "recording"]] = "recording"

    def __init__(self, spec: EndpointTextQualitySpec) -> None:
        super().__init__(spec)
        self._instructions = _PROMPT.read_text(encoding="utf-8")
        self._windows: dict[str, tuple[Line, ...]] = {}

    def describe(self) -> str:
        prompt = prompt_digest(self._instructions)
        return f"text-quality-endpoint 1 prompt-{prompt} model {self.spec.model}"

    def process(self, batch: Sequence[Segment]) -> list[Verdict]:
        self._look_around(batch)
        asked = [index for index, segment in enumerate(batch) if _has_words(segment)]
        answers = self.client.ask_all([self._question(batch[index]) for index in asked])
        verdicts: list[Verdict] = [_unasked(segment) for segment in batch]
        for index, answer in zip(asked, answers, strict=True):
            verdicts[index] = Keep(answer.model_dump())
        return verdicts

    def _look_around(self, batch: Sequence[Segment]) -> None:
        # A batch that fails is split and comes back in parts, without their neighbours: the
        # windows of the whole are kept, so that every part is asked what the whole was asked.
        if not all(segment.segment_id in self._windows for segment in batch):
            self._windows = {
                segment.segment_id: window_around(index, batch, self.spec.context_s)
                for index, segment in enumerate(batch)
            }

    def _question(self, segment: Segment) -> Question[TextQualityAnswer]:
        lines = self._windows[segment.segment_id]
        dialogue = [
            {"speaker": line.speaker, "text": line.text, "own": line.is_own} for line in lines
        ]
        return Question(self._instructions, {"dialogue": dialogue}, TextQualityAnswer)


def _has_words(segment: Segment) -> bool:
    return bool((segment.values["text"] or "").strip())


def _unasked(segment: Segment) -> Verdict:
    score = None if segment.values["text"] is None else 0.0
    return Keep(dict.fromkeys(EndpointTextQuality.writes, score))
