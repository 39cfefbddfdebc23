"""Unsafe phrases and personal data by rules: no model, works offline, English and Chinese."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import yaml
from pydantic import Field

from schemas.errors import SpecError
from schemas.verdict import Keep, Verdict
from stages.base import Segment, SegmentStage, StageSpec
from stages.safety.pii import PII_KINDS, Found, find_pii
from stages.safety.placing import place
from stages.safety.spoken_text import plain

_FILE = Path(__file__).with_name("rules.yaml")


class RuleSafetySpec(StageSpec):
    extra_terms: dict[str, list[str]] = Field(default={})
    """Kind of unsafe content to phrases that are looked for as well, whole words in any case."""


class RuleSafety(SegmentStage):
    """Flags, kinds of personal data, and where they are said; empty lists where nothing is found.

    No transcript (null) gives null: nobody looked. A flag says that a phrase was said, not what was
    meant by it.
    """

    name: ClassVar[str] = "safety"
    engine: ClassVar[str] = "rules"
    Spec: ClassVar[type[StageSpec]] = RuleSafetySpec
    reads: ClassVar[frozenset[str]] = frozenset({"text", "words"})
    writes: ClassVar[frozenset[str]] = frozenset({"safety_flags", "pii_kinds", "safety_spans"})
    speed_x_real_time: ClassVar[float] = 5_000.0

    def __init__(self, spec: RuleSafetySpec) -> None:
        super().__init__(spec)
        for kind, phrases in spec.extra_terms.items():
            if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", kind) or kind in PII_KINDS:
                raise SpecError(
                    f"extra_terms: found kind {kind!r}; wanted a word of a-z, 0-9 and '_' that is "
                    "no kind of personal data"
                )
            if not all(phrase.strip() for phrase in phrases):
                raise SpecError(f"extra_terms.{kind}: found an empty phrase, which matches all")
        self._extra = {
            kind: _pattern(re.escape(phrase.lower().strip()) for phrase in phrases)
            for kind, phrases in spec.extra_terms.items()
            if phrases
        }

    def describe(self) -> str:
        return f"safety-rules 1 terms-{hashlib.sha256(_FILE.read_bytes()).hexdigest()[:8]}"

    def open(self) -> None:
        shipped_terms()

    def process(self, batch: Sequence[Segment]) -> list[Verdict]:
        return [self._judge(segment) for segment in batch]

    def _judge(self, segment: Segment) -> Verdict:
        text: str | None = segment.values["text"]
        if text is None:
            return Keep(safety_values(segment, None, None))
        flags = [*find_terms(text, shipped_terms()), *find_terms(text, self._extra)]
        return Keep(safety_values(segment, flags, find_pii(text)))


def safety_values(
    segment: Segment, flags: Sequence[Found] | None, pii: Sequence[Found] | None
) -> dict[str, Any]:
    """The three columns of this stage from finds in the segment's text; None: nobody looked."""
    if flags is None or pii is None:
        return {"safety_flags": None, "pii_kinds": None, "safety_spans": None}
    spans = {(*place(segment, find.start, find.end), find.kind) for find in [*flags, *pii]}
    return {
        "safety_flags": sorted({find.kind for find in flags}),
        "pii_kinds": sorted({find.kind for find in pii}),
        "safety_spans": [
            {"kind": kind, "start_sample": start_sample, "end_sample": end_sample}
            for start_sample, end_sample, kind in sorted(spans)
        ],
    }


def find_terms(text: str, terms: Mapping[str, re.Pattern[str]]) -> list[Found]:
    """Places at which a kind's phrases stand, in order."""
    traced = plain(text)
    return sorted(
        Found(*traced.source(match.start(), match.end()), kind)
        for kind, pattern in terms.items()
        for match in pattern.finditer(traced.text)
    )


@cache
def shipped_terms() -> dict[str, re.Pattern[str]]:
    """Kind to pattern, from `rules.yaml`; a kind without phrases is left out."""
    raw: dict[str, list[str]] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return {kind: _pattern(phrases) for kind, phrases in raw.items() if phrases}


def _pattern(forms: Iterable[str]) -> re.Pattern[str]:
    """Any of the forms; a Latin letter at an end must not go on as a longer word."""
    spaced = (form.replace(r"\ ", " ").replace(" )?", r"\W+)?") for form in forms)
    either = "|".join(form.replace(" ", r"\W+") for form in spaced)
    return re.compile(rf"(?<![a-z'])(?:{either})(?![a-z])")
