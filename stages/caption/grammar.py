"""Facts to sentences in two languages, and sentences back to the facts that they state."""

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from schemas.ids import digest
from stages.caption.facts import SCALES, VIEWS, Facts

LANGUAGES = ("en", "zh")
_FILE = Path(__file__).with_name("grammar.yaml")


def grammar_digest() -> str:
    """Eight hex digits of the wordings, so that a changed wording changes the engine's name."""
    return hashlib.sha256(_FILE.read_bytes()).hexdigest()[:8]


def captions(facts: Facts, *, key: str, seed: int) -> dict[str, str]:
    """The six caption columns. The same facts, key and seed give the same words, anywhere.

    Both languages state the same facts; only the wording is drawn, by a digest of seed and key.
    """
    return {
        f"caption_{view}_{language}": _sentence(view, language, facts, key=key, seed=seed)
        for view in VIEWS
        for language in LANGUAGES
    }


def worth_saying(facts: Facts) -> dict[str, str]:
    """The facts that captions state: middling levels of some attributes are left unsaid."""
    return {
        attribute: level
        for attribute, level in facts.items()
        if grammar()[SCALES[attribute].view][attribute][level]["en"]
    }


def stated_levels(attribute: str, sentence: str, language: str) -> set[str]:
    """Levels of an attribute that a sentence states in words that the grammar knows."""
    found = {
        (phrase, level)
        for level, words in grammar()[SCALES[attribute].view][attribute].items()
        for phrase in (*words[language], *words["also"][language])
        if phrase.lower() in sentence.lower()
    }
    # `a low-pitched` inside `a low-pitched and deep`: only the longest of nested phrases counts.
    return {
        level
        for phrase, level in found
        if not any(phrase != other and phrase.lower() in other.lower() for other, _ in found)
    }


@cache
def grammar() -> dict[str, Any]:
    """The wordings: view to openers, silent sentences, and attribute to level to clauses."""
    raw: dict[str, Any] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return raw


def _sentence(view: str, language: str, facts: Facts, *, key: str, seed: int) -> str:
    def draw(choices: Sequence[str], what: str) -> str:
        return choices[int(digest(seed, key, view, language, what)[:8], 16) % len(choices)]

    words = grammar()[view]
    clauses = [
        draw(words[attribute][level][language], attribute)
        for attribute, level in worth_saying(facts).items()
        if SCALES[attribute].view == view
    ]
    if not clauses:
        return draw(words["silent"][language], "silent")
    return draw(words["openers"][language], "opener").format(clauses=_listed(clauses, language))


def _listed(clauses: Sequence[str], language: str) -> str:
    if language == "zh":
        return "，".join(clauses)
    *first, last = clauses
    return f"{', '.join(first)} and {last}" if first else last
