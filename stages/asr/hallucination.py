"""Signs that a transcript was made up, not heard.

Whisper-class models fill silence, noise and music with fluent text: they loop, they chatter faster
than anybody speaks, they run words together. The thresholds are those of NVIDIA NeMo's Whisper
hallucination detector (unique words, long word, character rate) and of its repeated n-grams.
"""

import unicodedata
import zlib
from collections import Counter

MAX_UNIQUE_RATIO = 0.4
MIN_LONG_WORD_LETTERS = 25
MAX_CHARACTERS_PER_S = 40.0
NGRAM_UNITS = 10
MAX_NGRAM_REPEATS = 3
_MIN_UNITS_FOR_RATIO = 5  # "no, no, no" is something people say

_UNSPACED_SCRIPTS = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")


def spoken_units(text: str) -> list[str]:
    """Words, and single characters of scripts that put no spaces between words; no punctuation.

    Case is folded, so that "Yes yes" is one unit twice.
    """
    units: list[str] = []
    word = ""
    for character in f"{text.casefold()} ":
        unspaced = _is_unspaced(character)
        if not unspaced and (character.isalnum() or (word and _joins_letters(character))):
            word += character
            continue
        if word:
            units.append(word.rstrip("'’-"))
            word = ""
        if unspaced:
            units.append(character)
    return units


def compression_ratio(text: str) -> float:
    """Bytes over zlib's bytes: text that repeats itself compresses well. 0 for no text."""
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 0.0


def hallucination_signs(text: str, duration_s: float) -> list[str]:
    """Names of the signs found, sorted; empty for a transcript without suspicion.

    `few_unique_words`: at most 40 % of the words differ. `long_word`: one of 25 letters or more.
    `too_fast`: more than 40 characters a second. `repeated_phrase`: the same ten words in a row
    more than three times. Chinese and other unspaced text counts characters for words.
    """
    units = spoken_units(text)
    signs = set()
    if len(units) >= _MIN_UNITS_FOR_RATIO and len(set(units)) / len(units) <= MAX_UNIQUE_RATIO:
        signs.add("few_unique_words")
    if any(len(unit) >= MIN_LONG_WORD_LETTERS for unit in units):
        signs.add("long_word")
    if len(text.strip()) > MAX_CHARACTERS_PER_S * duration_s:
        signs.add("too_fast")
    phrases = Counter(
        tuple(units[at : at + NGRAM_UNITS]) for at in range(len(units) - NGRAM_UNITS + 1)
    )
    if phrases and max(phrases.values()) > MAX_NGRAM_REPEATS:
        signs.add("repeated_phrase")
    return sorted(signs)


def _joins_letters(character: str) -> bool:
    return character in "'’-" or unicodedata.category(character).startswith("M")


def _is_unspaced(character: str) -> bool:
    if character < "\u0e00" or not character.isalnum():  # Thai is the first of those scripts
        return False
    return unicodedata.name(character, "").startswith(_UNSPACED_SCRIPTS)
