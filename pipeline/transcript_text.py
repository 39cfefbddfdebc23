"""Transcripts as comparable tokens: an error rate shall count what was heard, not how it is spelt.

Both sides go through the same rules: compatibility forms of Unicode folded (NFKC), case folded,
apostrophes joined (`don't` to `dont`), digits spelt out in English and Chinese, everything that is
neither letter nor digit a space. What the rules cannot know: `1984` is read as a year, `St.` stays.
"""

import re
import unicodedata
from collections.abc import Callable

from pipeline.spoken_numbers import chinese_digits, chinese_number, english_number

CHARACTER_LANGUAGES = frozenset({"zh", "yue", "ja", "th", "lo", "km", "my"})
"""Written without spaces between words: a token is a character."""

_ABBREVIATIONS_EN = {"mr": "mister", "mrs": "missus", "dr": "doctor", "okay": "ok"}
_SYMBOLS_EN = {"%": " percent ", "&": " and "}
_SCRIPTS = (  # letters of a script that only one common language is written in; order matters
    ("HIRAGANA", "ja"),
    ("KATAKANA", "ja"),
    ("HANGUL", "ko"),
    ("CJK", "zh"),
    ("THAI", "th"),
    ("GREEK", "el"),
    ("HEBREW", "he"),
)


def tokens(text: str, language: str) -> list[str]:
    """Words of a transcript, or its characters in a language written without spaces.

    A combining mark stays with its letter, so that it does not split a word or count as a token.
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    text = re.sub(r"(?<=\w)['’ʼ`](?=\w)", "", text)
    if language == "en":
        for symbol, word in _SYMBOLS_EN.items():
            text = text.replace(symbol, word)
        text = _spell(text, english_number)
        text = re.sub(r"(?<=\d)(?=[^\W\d])|(?<=[^\W\d])(?=\d)", " ", text)
    elif language in ("zh", "yue"):
        text = re.sub(r"(\d+(?:\.\d+)?)%", r"百分之\1", text)
        text = re.sub(r"\d{4}(?=年)", lambda found: chinese_digits(found.group()), text)
        text = _spell(text, chinese_number)
    kept = "".join(character if _is_spoken(character) else " " for character in text)
    if language in CHARACTER_LANGUAGES:
        return [character for character in kept if not character.isspace()]
    words = kept.split()
    return [_ABBREVIATIONS_EN.get(word, word) for word in words] if language == "en" else words


def language_by_script(text: str) -> str | None:
    """Language that the letters give away (Chinese, Japanese, Korean, Thai, ...); None for others.

    Japanese is told by its kana, of which a Chinese text has none.
    """
    names = [unicodedata.name(character, "") for character in text if character.isalpha()]
    for script, language in _SCRIPTS:
        if 10 * sum(name.startswith(script) for name in names) > len(names):
            return language
    return None


def _is_spoken(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN"


def _spell(text: str, number_words: Callable[[str], str]) -> str:
    """Each number in digits (`1,250`, `3.5`, `21st`) as words."""
    pattern = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+\.\d+|\d+(?:st|nd|rd|th)\b|\d+"
    return re.sub(pattern, lambda found: number_words(found.group()), text)
