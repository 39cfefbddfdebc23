"""Unsafe content and personal data as a language model behind an endpoint sees them."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from schemas.verdict import Keep, Verdict
from stages.base import Segment, StageSpec
from stages.endpoint_client import Answer, EndpointSpec, Question, prompt_digest
from stages.endpoint_stage import EndpointStage
from stages.safety.pii import Found, find_pii
from stages.safety.rules import RuleSafety, safety_values

_PROMPT = Path(__file__).with_name("prompt.md")

FlagKind = Literal["violence_threat", "self_harm", "sexual", "slur"]
PersonalKind = Literal[
    "email",
    "url",
    "ipv4",
    "iban",
    "cn_resident_id",
    "credit_card",
    "us_ssn",
    "phone",
    "person_name",
    "postal_address",
    "date_of_birth",
]


class EndpointSafetySpec(EndpointSpec):
    pass


class Flag(Answer):
    """A passage that is unsafe."""

    kind: FlagKind
    quote: str = Field(max_length=2000)


class Personal(Answer):
    """A passage that holds personal data."""

    kind: PersonalKind
    quote: str = Field(max_length=2000)


class SafetyAnswer(Answer):
    """What the model is asked for."""

    flags: list[Flag] = Field(max_length=100)
    personal: list[Personal] = Field(max_length=100)


class EndpointSafety(EndpointStage):
    """Flags by the model alone; personal data by the model and by the rules together.

    The rules stay because a check digit is surer than a model. A quote is placed where it stands in
    the transcript; one that does not stand there marks the whole segment. An empty transcript gives
    empty lists and no transcript gives null, both without asking. Raises `ItemError` ENDPOINT_ERROR
    where the endpoint fails or answers out of schema.
    """

    name: ClassVar[str] = "safety"
    engine: ClassVar[str] = "endpoint"
    Spec: ClassVar[type[StageSpec]] = EndpointSafetySpec
    reads: ClassVar[frozenset[str]] = RuleSafety.reads
    writes: ClassVar[frozenset[str]] = RuleSafety.writes
    # Eight requests in flight, ten seconds a segment, one second an answer; the client alone
    # does more than a thousand.
    speed_x_real_time: ClassVar[float] = 80.0

    def __init__(self, spec: EndpointSafetySpec) -> None:
        super().__init__(spec)
        self._instructions = _PROMPT.read_text(encoding="utf-8")

    def describe(self) -> str:
        prompt = prompt_digest(self._instructions)
        return f"safety-endpoint 1 prompt-{prompt} model {self.spec.model}"

    def process(self, batch: Sequence[Segment]) -> list[Verdict]:
        asked = [i for i, segment in enumerate(batch) if (segment.values["text"] or "").strip()]
        answers = self.client.ask_all([self._question(batch[i]) for i in asked])
        verdicts: list[Verdict] = [_unasked(segment) for segment in batch]
        for index, answer in zip(asked, answers, strict=True):
            verdicts[index] = Keep(_values(batch[index], answer))
        return verdicts

    def _question(self, segment: Segment) -> Question[SafetyAnswer]:
        return Question(self._instructions, {"transcript": segment.values["text"]}, SafetyAnswer)


def _values(segment: Segment, answer: SafetyAnswer) -> dict[str, object]:
    text: str = segment.values["text"]
    flags = [found for flag in answer.flags for found in _where(text, flag.quote, flag.kind)]
    personal = [found for data in answer.personal for found in _where(text, data.quote, data.kind)]
    return safety_values(segment, flags, [*personal, *find_pii(text)])


def _where(text: str, quote: str, kind: str) -> list[Found]:
    """Every place of a quote; the whole text where it does not stand in it."""
    wanted, searched = quote.strip().lower(), text.lower()
    if not wanted or len(searched) != len(text):
        return [Found(0, len(text), kind)]
    found = []
    at = searched.find(wanted)
    while at >= 0:
        found.append(Found(at, at + len(wanted), kind))
        at = searched.find(wanted, at + len(wanted))
    return found or [Found(0, len(text), kind)]


def _unasked(segment: Segment) -> Verdict:
    if segment.values["text"] is None:
        return Keep(safety_values(segment, None, None))
    return Keep(safety_values(segment, [], []))
