"""The word lists of `lexicon.yaml`, compiled once into sets and patterns."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

_FILE = Path(__file__).with_name("lexicon.yaml")
_PAIR_REACH = 160
"""Characters that may lie between the halves of one argument: about two spoken sentences."""


@dataclass(frozen=True, slots=True)
class Connective:
    """Words of one kind and weight, in both languages."""

    kind: str
    weight: float
    pattern: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Patterns run over text as `tokens.normalized` writes it: lower case, plain apostrophes."""

    function_words_en: frozenset[str]
    common_words_en: frozenset[str]
    common_characters_zh: frozenset[str]
    numbers_en: frozenset[str]
    numbers_zh: frozenset[str]
    name_marks_zh: re.Pattern[str]
    address: re.Pattern[str]
    backchannel_start: re.Pattern[str]
    question: re.Pattern[str]
    """For text without punctuation."""
    connectives: tuple[Connective, ...]
    pairs: tuple[re.Pattern[str], ...]


def digest() -> str:
    """Eight hex digits of the lists, so that a changed list changes the engine's name."""
    return hashlib.sha256(_FILE.read_bytes()).hexdigest()[:8]


@cache
def lexicon() -> Lexicon:
    """The lists, read and compiled on the first call."""
    raw: dict[str, Any] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    function_words = frozenset(raw["function_words_en"].split())
    numbers_en = frozenset(raw["numbers_en"].split())
    asked = _alternatives(raw["questions_en"])
    return Lexicon(
        function_words_en=function_words,
        common_words_en=function_words | numbers_en | frozenset(raw["common_words_en"].split()),
        common_characters_zh=frozenset("".join(raw["common_characters_zh"].split())),
        numbers_en=numbers_en,
        numbers_zh=frozenset(raw["numbers_zh"]),
        name_marks_zh=re.compile(_alternatives(raw["name_marks_zh"])),
        address=re.compile(_alternatives([*raw["address_en"], *raw["address_zh"]])),
        backchannel_start=re.compile(
            r"\W*" + _alternatives([*raw["backchannels_en"], *raw["backchannels_zh"]])
        ),
        # `so who did it`: a word or two may stand before the word that asks.
        question=re.compile(
            rf"^(?:(?:so|and|but|well|okay|oh|yeah)\W+)*{asked}"
            rf"|{_alternatives(raw['questions_zh'])}"
        ),
        connectives=tuple(
            Connective(kind, float(weight), re.compile(_alternatives(phrases)))
            for kind, by_weight in raw["reasoning"].items()
            for weight, phrases in by_weight.items()
        ),
        pairs=tuple(
            re.compile(f"{_alternatives([one])}.{{1,{_PAIR_REACH}}}?{_alternatives([other])}")
            for one, other in raw["reasoning_pairs"]
        ),
    )


def _alternatives(phrases: Iterable[str]) -> str:
    """One pattern for all phrases, longest first; Latin phrases match whole words only."""
    forms = []
    for phrase in sorted(phrases, key=len, reverse=True):
        escaped = re.escape(phrase).replace(r"\ ", r"\W+")
        latin = phrase.isascii()
        forms.append(rf"(?<![a-z']){escaped}(?![a-z'])" if latin else escaped)
    return f"(?:{'|'.join(forms)})"
