"""Text as it is searched: normalised, spoken digits as digits, every character with its origin."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_SAID: dict[str, Any] = yaml.safe_load(
    Path(__file__).with_name("spoken.yaml").read_text(encoding="utf-8")
)
_ONES: dict[str, str] = {word: str(number) for number, word in enumerate(_SAID["ones"])}
_TEENS = {word: str(number) for number, word in enumerate(_SAID["teens"], start=10)}
_TENS = {word: str(number) for number, word in enumerate(_SAID["tens"], start=2)}
_HAN_DIGITS: dict[str, str] = _SAID["han_digits"]
_REPEATS: dict[str, int] = _SAID["repeats"]
_SIGNS: dict[str, str] = _SAID["signs"]
_NOT_BEFORE_AT = frozenset(_SAID["not_before_at"])
_TOKEN = re.compile(r"[a-z]+|\d+|艾特|[\u4e00-\u9fff]|\s+|.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Traced:
    """A text made from another one; `origins[i]` is the source range of character i."""

    text: str
    origins: tuple[tuple[int, int], ...]

    def source(self, start: int, end: int) -> tuple[int, int]:
        """Range of the source text behind the non-empty range `start`..`end` of this one."""
        return self.origins[start][0], self.origins[end - 1][1]


def plain(text: str) -> Traced:
    """NFKC and lower case, character by character: full-width digits and signs become plain."""
    made: list[tuple[str, tuple[int, int]]] = []
    for at, character in enumerate(text):
        folded = unicodedata.normalize("NFKC", character).replace("’", "'").lower()
        made += [(c, (at, at + 1)) for c in folded]
    return _traced(made)


def spoken(text: str) -> Traced:
    """Like `plain`, with spoken numbers and signs written out: `four one five` is `415`.

    `double five`, `oh` beside a digit, tens (`twenty one`), `eight hundred`, Chinese digits,
    spelled letters (`j o h n`), `at` and `dot` are known. Blanks, commas, hyphens and brackets
    between two digits are left out, so that one number is one run of digits.
    """
    base = plain(text)
    pieces = [
        _Piece(match.group(), base.source(match.start(), match.end()))
        for match in _TOKEN.finditer(base.text)
    ]
    pieces = _join(_write_signs(_write_numbers(pieces)))
    return _traced((character, piece.origin) for piece in pieces for character in piece.text)


@dataclass(frozen=True, slots=True)
class _Piece:
    text: str
    origin: tuple[int, int]

    @property
    def is_gap(self) -> bool:
        return not self.text.strip(" \t\n,、，-()")

    @property
    def is_digits(self) -> bool:
        return self.text.isdigit() and self.text.isascii()


def _write_numbers(pieces: list[_Piece]) -> list[_Piece]:
    """Number words to digits; a number of several words becomes one piece."""
    made: list[_Piece] = []
    at = 0
    while at < len(pieces):
        piece = pieces[at]
        follower = _follower(pieces, at)
        next_one = _ONES.get(pieces[follower].text) if follower is not None else None
        if piece.text in _TENS and next_one not in {None, "0"} and follower is not None:
            made.append(_Piece(_TENS[piece.text] + str(next_one), _over(piece, pieces[follower])))
            at = follower + 1
            continue
        if piece.text in _REPEATS and follower is not None:
            digit = next_one or ("0" if pieces[follower].text in {"o", "oh"} else None)
            if digit is None and pieces[follower].is_digits and len(pieces[follower].text) == 1:
                digit = pieces[follower].text
            if digit is not None:
                origin = _over(piece, pieces[follower])
                made.append(_Piece(digit * _REPEATS[piece.text], origin))
                at = follower + 1
                continue
        made.append(_Piece(_digits_of(piece.text) or piece.text, piece.origin))
        at += 1
    return [_beside_digits(made, at) for at in range(len(made))]


def _digits_of(word: str) -> str | None:
    tens = _TENS.get(word)
    return _ONES.get(word) or _TEENS.get(word) or _HAN_DIGITS.get(word) or (tens and tens + "0")


def _beside_digits(pieces: list[_Piece], at: int) -> _Piece:
    """`oh` is a zero and `hundred` two of them only where digits stand around."""
    piece = pieces[at]
    if piece.text not in {"o", "oh", "hundred"}:
        return piece
    before = next((p for p in reversed(pieces[:at]) if not p.is_gap), None)
    after = next((p for p in pieces[at + 1 :] if not p.is_gap), None)
    if piece.text == "hundred":
        fits = before is not None and before.is_digits and len(before.text) == 1
        return _Piece("00", piece.origin) if fits else piece
    zero_like = {"o", "oh"}
    beside = any(p is not None and (p.is_digits or p.text in zero_like) for p in (before, after))
    return _Piece("0", piece.origin) if beside else piece


def _write_signs(pieces: list[_Piece]) -> list[_Piece]:
    """`john at mail dot com` to `john@mail.com`: signs swallow the blanks around them."""
    made: list[_Piece] = []
    skip_blank = False
    for piece in pieces:
        if piece.text.isspace() and skip_blank:
            continue
        sign = _SIGNS.get(piece.text)
        before = next((p.text for p in reversed(made) if not p.text.isspace()), "")
        if sign == "@" and before in _NOT_BEFORE_AT:
            sign = None
        if sign is not None:
            while made and made[-1].text.isspace() and sign != "+":
                made.pop()
            made.append(_Piece(sign, piece.origin))
        else:
            made.append(piece)
        skip_blank = sign is not None
    return made


def _join(pieces: list[_Piece]) -> list[_Piece]:
    """Leaves out what separates the parts of one number or of one spelled word."""
    made: list[_Piece] = []
    gap: list[_Piece] = []
    for piece in pieces:
        if piece.is_gap:
            gap.append(piece)
            continue
        if not (made and gap and _belong_together(made[-1], piece, gap)):
            made += gap
        made.append(piece)
        gap = []
    return made + gap


def _belong_together(one: _Piece, other: _Piece, gap: list[_Piece]) -> bool:
    if one.is_digits and other.is_digits:
        return True
    # Spelled letters and digits (`g b two nine`) join over blanks alone.
    spelled = [len(p.text) == 1 and p.text.isascii() and p.text.isalpha() for p in (one, other)]
    blanks = all(p.text.isspace() for p in gap)
    return blanks and all(s or p.is_digits for s, p in zip(spelled, (one, other), strict=True))


def _follower(pieces: list[_Piece], at: int) -> int | None:
    """Index of the next piece behind blanks and hyphens only."""
    for index in range(at + 1, len(pieces)):
        if pieces[index].text.strip(" -"):
            return index
    return None


def _over(first: _Piece, last: _Piece) -> tuple[int, int]:
    return first.origin[0], last.origin[1]


def _traced(made: Iterable[tuple[str, tuple[int, int]]]) -> Traced:
    pairs = list(made)
    return Traced("".join(c for c, _ in pairs), tuple(origin for _, origin in pairs))
