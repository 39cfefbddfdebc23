"""Text scores from word lists and turn counts: no model, works offline, English and Chinese."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from schemas.verdict import Keep, Verdict
from stages.base import Segment, SegmentStage, StageSpec
from stages.text_quality.lexicon import digest, lexicon
from stages.text_quality.scores import score_window
from stages.text_quality.window import window_around


class FeatureTextQualitySpec(StageSpec):
    context_s: float = Field(default=30.0, ge=0, le=600)
    """Seconds before and after a segment whose dialogue is counted with it."""


class FeatureTextQuality(SegmentStage):
    """Scores 0 to 5 for how much a segment converses, tells and argues; see `scores.py`.

    An empty transcript scores 0. No transcript (null), or text that is neither English nor
    Chinese, gives null: the word lists say nothing about it.
    """

    name: ClassVar[str] = "text_quality"
    engine: ClassVar[str] = "features"
    Spec: ClassVar[type[StageSpec]] = FeatureTextQualitySpec
    reads: ClassVar[frozenset[str]] = frozenset({"text"})
    writes: ClassVar[frozenset[str]] = frozenset(
        {"conversational_quality", "knowledge_density", "logical_reasoning"}
    )
    speed_x_real_time: ClassVar[float] = 3_500.0
    batch_by: ClassVar[Literal["padded_seconds", "recording"]] = "recording"

    def describe(self) -> str:
        return f"text-features 1 lexicon-{digest()}"

    def open(self) -> None:
        lexicon()

    def process(self, batch: Sequence[Segment]) -> list[Verdict]:
        return [self._judge(index, batch) for index in range(len(batch))]

    def _judge(self, index: int, batch: Sequence[Segment]) -> Verdict:
        scores = None
        if batch[index].values["text"] is not None:
            scores = score_window(window_around(index, batch, self.spec.context_s), lexicon())
        return Keep(
            {
                "conversational_quality": scores and scores.conversational_quality,
                "knowledge_density": scores and scores.knowledge_density,
                "logical_reasoning": scores and scores.logical_reasoning,
            }
        )
