"""What the training voices say: sentences drawn from word lists, in the languages of the voices.

English comes from a small grammar over a few hundred words that hold every English sound, names and
numbers; other languages are runs of common words with commas. Nothing of a corpus is quoted.
"""

from functools import cache
from pathlib import Path

import numpy as np
import yaml

CHARACTERS_PER_SECOND = {"en": 15.5, "fr": 15.0, "zh": 3.6}
"""How fast the voices speak at their usual rate; other languages near `_USUAL_RATE`."""
_USUAL_RATE = 13.0
_COMMA_CHANCE = 0.16
_QUESTION_CHANCE = 0.15
_DIGITS_CHANCE = 0.06
_OPENERS = {"The", "She", "He", "We", "Has", "Why", "There", "Nobody", "They"}
_ENGLISH = (
    ("The", "adjective", "noun", "verb", "the", "noun"),
    ("name", "verb", "the", "adjective", "noun", "adverb"),
    ("name", "and", "name", "verb", "a", "noun", "in", "place"),
    ("She", "verb", "number", "adjective", "noun", "preposition", "the", "noun"),
    ("He", "adverb", "verb", "my", "noun", "and", "your", "adjective", "noun"),
    ("We", "verb", "it", "preposition", "the", "adjective", "noun"),
    ("Has", "your", "noun", "verb", "their", "noun"),
    ("Why", "was", "the", "noun", "so", "adjective", "adverb"),
    ("There", "were", "number", "hundred", "and", "number", "noun", "in", "place"),
    ("Nobody", "verb", "this", "noun", "preposition", "place"),
    ("They", "should", "have", "verb", "those", "adjective", "noun", "adverb"),
    ("adverb", "the", "noun", "of", "place", "was", "adjective"),
)


@cache
def words(language: str) -> dict[str, tuple[str, ...]]:
    """Lists of `words.yaml` for a language, by part of speech (`word` for all but English)."""
    text = Path(__file__).with_name("words.yaml").read_text(encoding="utf-8")
    return {part: tuple(listed.split()) for part, listed in yaml.safe_load(text)[language].items()}


def sentence(language: str, seconds: float, random: np.random.Generator) -> str:
    """Words for about `seconds` of speech at a usual rate, with a full stop or a question mark."""
    wanted = max(2.0, seconds * CHARACTERS_PER_SECOND.get(language, _USUAL_RATE))
    if language == "en":
        return _english(wanted, random)
    if language == "zh":
        return _run_of_words(language, wanted, random, joint="", comma="，", ends="。？")
    return _run_of_words(language, wanted, random, joint=" ", comma=", ", ends=".?")


def _english(wanted: float, random: np.random.Generator) -> str:
    """One or more clauses of the grammar, cut at the word where the wanted length is reached."""
    spoken: list[str] = []
    length = 0.0
    while length < wanted:
        if spoken:
            spoken[-1] += ","
            spoken.append(str(random.choice(["and", "but", "while", "because", "so", "although"])))
        for slot in _ENGLISH[random.integers(len(_ENGLISH))]:
            word = _filled(slot, random)
            spoken.append(word.lower() if spoken and slot in _OPENERS else word)
            length += len(word) + 1
            if length >= wanted and len(spoken) >= 2:
                break
    text = " ".join(spoken)
    return text[0].upper() + text[1:] + _end(".?", random)


def _filled(slot: str, random: np.random.Generator) -> str:
    lists = words("en")
    if slot == "number" and random.random() < _DIGITS_CHANCE:
        return str(random.integers(2, 2_000))
    return _one(lists[slot], random).replace("-", " ") if slot in lists else slot


def _run_of_words(
    language: str, wanted: float, random: np.random.Generator, *, joint: str, comma: str, ends: str
) -> str:
    listed = words(language)["word"]
    text = _one(listed, random)
    while len(text) < wanted:
        text += (comma if random.random() < _COMMA_CHANCE else joint) + _one(listed, random)
    return text + _end(ends, random)


def _end(ends: str, random: np.random.Generator) -> str:
    return ends[int(random.random() < _QUESTION_CHANCE)]


def _one(listed: tuple[str, ...], random: np.random.Generator) -> str:
    return listed[random.integers(len(listed))]
