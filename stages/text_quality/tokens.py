"""Text to English words and Chinese characters, counted in one unit."""

import re
import unicodedata
from dataclasses import dataclass

_LATIN = r"[A-Za-z\u00c0-\u024f]+"
_TOKEN = re.compile(rf"(?P<word>{_LATIN}(?:'{_LATIN})*)|(?P<hanzi>[\u4e00-\u9fff])|[^\W\d_]")
_FIGURE = re.compile(r"\d+(?:[.,:]\d+)*")
_SENTENCE_END = re.compile(r"[.!?…:。！？]\s*[\"')]*\s*$")
HANZI_PER_WORD = 1.6
"""Characters of a Chinese word on average, so that both languages count in words."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a text is made of."""

    words: tuple[str, ...]
    """Words in Latin script, lower case."""
    hanzi: str
    num_figures: int
    """Numbers written in digits."""
    num_names: int
    """Capitalised words inside a sentence; 0 where a text is not cased."""
    num_other_letters: int
    """Letters of scripts that are neither Latin nor Han."""

    @property
    def num_words(self) -> float:
        """Length in words: a Chinese character counts as part of one."""
        return len(self.words) + len(self.hanzi) / HANZI_PER_WORD + self.num_figures


def normalized(text: str) -> str:
    """The form that patterns are matched against: NFKC, lower case, straight apostrophes."""
    return unicodedata.normalize("NFKC", text).replace("’", "'").lower().strip()


def tokenize(text: str) -> Tokens:
    """Words, characters and counts of a text in any mixture of scripts."""
    text = unicodedata.normalize("NFKC", text).replace("’", "'")
    words: list[str] = []
    hanzi: list[str] = []
    num_other = num_names = 0
    cased = any(c.islower() for c in text)  # a text all in capitals names nobody
    for match in _TOKEN.finditer(text):
        if word := match["word"]:
            words.append(word.lower())
            inside = match.start() > 0 and not _SENTENCE_END.search(text[: match.start()][-6:])
            num_names += cased and inside and word[0].isupper() and word.split("'")[0] != "I"
        elif match["hanzi"]:
            hanzi.append(match.group())
        else:
            num_other += 1
    return Tokens(
        words=tuple(words),
        hanzi="".join(hanzi),
        num_figures=len(_FIGURE.findall(text)),
        num_names=num_names,
        num_other_letters=num_other,
    )
