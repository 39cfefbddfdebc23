"""Three scores from 0 to 5 for a speaker-tagged window, as plain formulas over counts.

Every count enters through a function that only rises, so more of a feature never lowers a score:

    conversational_quality = 5 · n(10) · (0.40·exchanges + 0.30·balance + 0.15·answers
                                          + 0.05·backchannels + 0.10·address)
    knowledge_density      = 5 · n(10) · variety · (1 - (1-0.8·rare)·(1-0.4·figures)·(1-0.4·names))
    logical_reasoning      = 5 · n(8) · (0.7·connectives + 0.3·kinds)

`n(h)` = 1 - 2^(-words/h) holds short texts down: at h words half of the score can be reached. The
weights and half-points were set by hand on sentences of our own, `tests/stages/text_quality/
calibration.yaml`, which keeps them honest.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from stages.text_quality.lexicon import Lexicon
from stages.text_quality.tokens import HANZI_PER_WORD, Tokens, normalized, tokenize
from stages.text_quality.window import Line

NEIGHBOUR_WEIGHT = 0.25
"""What a neighbour tells and argues counts a quarter of what the segment itself does."""
_DIVERSITY_WORDS = 50
_MIN_WORDS_TO_KNOW = 8
_MIN_FUNCTION_SHARE = 0.2
"""English prose has 0.35 to 0.55 of these words, other languages of Latin script under 0.12."""
_MAX_OTHER_SHARE = 0.3
_BACKCHANNEL_WORDS = 5.0


@dataclass(frozen=True, slots=True)
class Scores:
    """Each 0 to 5."""

    conversational_quality: float
    knowledge_density: float
    logical_reasoning: float


@dataclass(frozen=True, slots=True)
class _Said:
    line: Line
    text: str
    tokens: Tokens

    @property
    def weight(self) -> float:
        return 1.0 if self.line.is_own else NEIGHBOUR_WEIGHT


def score_window(lines: Sequence[Line], lexicon: Lexicon) -> Scores | None:
    """Scores of the window's own segment; None for text that is neither English nor Chinese.

    A window whose own segment has no words scores 0: nothing that was heard converses or tells.
    """
    said = [_Said(line, normalized(line.text), tokenize(line.text)) for line in lines]
    own = next((one for one in said if one.line.is_own), None)
    if own is None:
        return Scores(0.0, 0.0, 0.0)
    if not is_english_or_chinese([one.tokens for one in said], lexicon):
        return None
    return Scores(
        conversational_quality=_conversational_quality(said, lexicon),
        knowledge_density=_knowledge_density(own, said, lexicon),
        logical_reasoning=_logical_reasoning(own, said, lexicon),
    )


def is_english_or_chinese(window: Sequence[Tokens], lexicon: Lexicon) -> bool:
    """Whether the word lists speak about this text: by script, and by its function words."""
    words = [word for tokens in window for word in tokens.words]
    num_hanzi = sum(len(tokens.hanzi) for tokens in window)
    num_other = sum(tokens.num_other_letters for tokens in window)
    letters = sum(map(len, words)) + num_hanzi + num_other
    if num_other > _MAX_OTHER_SHARE * letters:
        return False
    if num_hanzi / HANZI_PER_WORD > len(words) or len(words) < _MIN_WORDS_TO_KNOW:
        return True
    function_words = sum(word in lexicon.function_words_en for word in words)
    return function_words >= _MIN_FUNCTION_SHARE * len(words)


def _conversational_quality(said: Sequence[_Said], lexicon: Lexicon) -> float:
    changes = answers = backchannels = 0
    for before, after in pairwise(said):
        if before.line.speaker == after.line.speaker:
            continue
        changes += 1
        answers += _asks(before.text, lexicon)
        opens = lexicon.backchannel_start.match(after.text) is not None
        backchannels += opens and after.tokens.num_words <= _BACKCHANNEL_WORDS
    num_words = sum(one.tokens.num_words for one in said)
    addressed = sum(len(lexicon.address.findall(one.text)) for one in said)
    by_speaker: dict[str, float] = {}
    for one in said:
        spoken = by_speaker.get(one.line.speaker, 0.0)
        by_speaker[one.line.speaker] = spoken + one.tokens.num_words
    return (
        5
        * _saturating(num_words, 10)
        * (
            0.40 * _saturating(changes, 1)
            + 0.30 * _balance(list(by_speaker.values()))
            + 0.15 * _saturating(answers, 0.6)
            + 0.05 * _saturating(backchannels, 1)
            + 0.10 * _ramp(addressed / max(num_words, 1), 0, 0.12)
        )
    )


def _knowledge_density(own: _Said, said: Sequence[_Said], lexicon: Lexicon) -> float:
    words = hanzi = rare_words = rare_hanzi = figures = names = total = 0.0
    for one in said:
        tokens, weight = one.tokens, one.weight
        words += weight * len(tokens.words)
        hanzi += weight * len(tokens.hanzi)
        rare_words += weight * sum(is_rare(word, lexicon) for word in tokens.words)
        rare_hanzi += weight * sum(h not in lexicon.common_characters_zh for h in tokens.hanzi)
        spoken = sum(word in lexicon.numbers_en for word in tokens.words)
        spoken += sum(h in lexicon.numbers_zh for h in tokens.hanzi)
        figures += weight * (tokens.num_figures + spoken)
        names += weight * (tokens.num_names + len(lexicon.name_marks_zh.findall(one.text)))
        total += weight * tokens.num_words
    # Everyday speech has 4 % of rare words and 12 % of rare characters; lectures 30 and 40 %.
    english = _ramp(rare_words / max(words, 1), 0.04, 0.32)
    chinese = _ramp(rare_hanzi / max(hanzi, 1), 0.12, 0.42)
    share_zh = (hanzi / HANZI_PER_WORD) / max(words + hanzi / HANZI_PER_WORD, 1)
    rare = share_zh * chinese + (1 - share_zh) * english
    told = 1 - (
        (1 - 0.8 * rare)
        * (1 - 0.4 * _ramp(figures / max(total, 1), 0, 0.12))
        * (1 - 0.4 * _ramp(names / max(total, 1), 0, 0.15))
    )
    return 5 * _saturating(own.tokens.num_words, 10) * _variety(own.tokens) * told


def _logical_reasoning(own: _Said, said: Sequence[_Said], lexicon: Lexicon) -> float:
    counted = total = 0.0
    kinds: dict[str, float] = {}
    for one in said:
        total += one.weight * one.tokens.num_words
        for connective in lexicon.connectives:
            found = len(connective.pattern.findall(one.text))
            if found:
                counts = one.weight * connective.weight
                counted += found * counts
                kinds[connective.kind] = max(kinds.get(connective.kind, 0.0), counts)
        counted += one.weight * sum(bool(pair.search(one.text)) for pair in lexicon.pairs)
    return (
        5
        * _saturating(own.tokens.num_words, 8)
        * (
            0.7 * _saturating(counted / max(total, 1), 0.03)
            + 0.3 * _saturating(sum(kinds.values()), 1)
        )
    )


def is_rare(word: str, lexicon: Lexicon) -> bool:
    """Whether an English word lies outside everyday vocabulary, its endings taken off."""
    if len(word) < 4:
        return False
    stem = word.split("'")[0]
    forms = {stem}
    for ending, instead in _ENDINGS:
        if stem.endswith(ending):
            bare = stem[: -len(ending)]
            forms |= {bare + tail for tail in instead}
            if len(bare) > 2 and bare[-1] == bare[-2]:
                forms.add(bare[:-1])  # stopped, running
    return not forms & lexicon.common_words_en


_ENDINGS = (
    ("ies", ("y",)),
    ("ied", ("y",)),
    ("ier", ("y",)),
    ("iest", ("y",)),
    ("ily", ("y",)),
    ("es", ("", "e")),
    ("s", ("",)),
    ("ed", ("", "e")),
    ("ing", ("", "e")),
    ("er", ("", "e")),
    ("est", ("", "e")),
    ("ly", ("", "le")),
    ("ness", ("",)),
)


def _asks(text: str, lexicon: Lexicon) -> bool:
    if any(mark in text for mark in ".?!。"):
        return "?" in text  # NFKC turned the full-width mark into this one
    return lexicon.question.search(text) is not None


def _balance(num_words: Sequence[float]) -> float:
    """Evenness of two or more speakers' shares: entropy in bits, 1 for half and half."""
    total = sum(num_words)
    shares = [n / total for n in num_words if n > 0]
    return min(1.0, -sum(share * math.log2(share) for share in shares))


def _variety(tokens: Tokens) -> float:
    """1 for text that does not repeat itself, down to about 0.5 for one word said for ever."""
    units = [*tokens.words, *tokens.hanzi][:_DIVERSITY_WORDS]
    if not units:
        return 1.0
    return 0.5 + 0.5 * _ramp(len(set(units)) / len(units), 0.2, 0.6)


def _saturating(value: float, half: float) -> float:
    return 1.0 - 2.0 ** (-value / half)


def _ramp(value: float, start: float, end: float) -> float:
    return min(1.0, max(0.0, (value - start) / (end - start)))
