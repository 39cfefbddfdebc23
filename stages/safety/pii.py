"""Personal data in a transcript: kinds and character ranges, check digits verified."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from stages.safety.checksums import (
    is_cn_resident_id,
    is_credit_card,
    is_iban,
    is_ipv4,
    is_us_ssn,
)
from stages.safety.spoken_text import Traced, plain, spoken

PII_KINDS = (*("email", "url", "ipv4", "iban", "cn_resident_id", "credit_card", "us_ssn", "phone"),)
"""In order of precedence: a find inside a find of an earlier kind is left out."""

_EMAIL = re.compile(r"(?<![\w.+-])[a-z0-9][\w.+-]{0,63}@(?:[a-z0-9-]{1,63}\.)+[a-z]{2,24}(?![\w-])")
_URL = re.compile(
    r"(?<![\w@.-])(?:https?://[^\s，。！？、]{3,}|www\.[a-z0-9-]+(?:\.[a-z0-9-]+)+[^\s，。！？、]*"
    r"|(?:[a-z0-9-]{2,63}\.)+(?:com|org|net|edu|gov|io|dev|info|cn|de|co\.uk)(?![\w-])"
    r"(?:/[^\s，。！？、]*)?)"
)
_IPV4 = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\.?\d)")
_IBAN = re.compile(r"(?<![a-z0-9])[a-z]{2} ?\d{2}(?: ?[a-z0-9]){11,30}")
_SSN_SHAPE = re.compile(r"(?<![\d-])\d{3}([- ])\d{2}\1\d{4}(?![\d-])")
_SSN_CUE = re.compile(r"social security|\bssn\b")
_DOTTED_PHONE = re.compile(r"(?<![\d.])[2-9]\d\d\.[2-9]\d\d\.\d{4}(?!\.?\d)")
_DIGIT_RUN = re.compile(r"(?<![\d.])\+?\d{7,19}x?(?![\d])(?!\.\d)")
_KNOWN_PHONE = re.compile(
    r"1?[2-9]\d{2}[2-9]\d{6}"  # North American numbering plan
    r"|(?:\+?86)?1[3-9]\d{9}"  # Chinese mobile
    r"|\+[1-9]\d{6,14}"  # E.164
)
_PHONE_CUE = re.compile(
    r"\b(?:phone|telephone|call|dial|text|cell|mobile|contact|number|whatsapp|fax)\b"
    r"|电话|手机|号码|打给|联系|微信"
)
_COUNTING = "0" + "".join(str(number) for number in range(1, 31))
"""Somebody who counts aloud says no number of anybody's."""
_CUE_REACH = 40
"""Characters before and after a number in which a cue word makes it a phone number."""


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """A kind, and the half-open range of characters of the transcript that it was found in."""

    start: int
    end: int
    kind: str


def find_pii(text: str) -> list[Found]:
    """Personal data in order of place; a find inside a find of an earlier kind is left out."""
    finds: list[Found] = []
    for traced in (plain(text), spoken(text)):
        for kind, start, end in _scan(traced):
            source_start, source_end = traced.source(start, end)
            finds.append(Found(source_start, source_end, kind))
    finds.sort(key=lambda f: (PII_KINDS.index(f.kind), f.start - f.end, f.start))
    kept: list[Found] = []
    for find in finds:
        if not any(k.start <= find.start and find.end <= k.end for k in kept):
            kept.append(find)
    return sorted(kept)


def _scan(traced: Traced) -> Iterator[tuple[str, int, int]]:
    text = traced.text
    yield from _matches("email", _EMAIL, text)
    yield from _matches("url", _URL, text, trim=".,;:!?)")
    yield from _matches("ipv4", _IPV4, text, is_ipv4)
    for match in _IBAN.finditer(text):
        end = _iban_end(text, match.start(), match.end())
        if end is not None:
            yield "iban", match.start(), end
    yield from _matches("us_ssn", _SSN_SHAPE, text, lambda found: is_us_ssn(_digits(found)))
    yield from _matches("phone", _DOTTED_PHONE, text)
    for match in _DIGIT_RUN.finditer(text):
        around = text[max(0, match.start() - _CUE_REACH) : match.end() + _CUE_REACH]
        kind = _kind_of_number(match.group(), around)
        if kind is not None:
            has_tail = match.group().endswith("x") and kind != "cn_resident_id"
            yield kind, match.start(), match.end() - has_tail


def _matches(
    kind: str,
    pattern: re.Pattern[str],
    text: str,
    is_real: Callable[[str], bool] = bool,
    trim: str = "",
) -> Iterator[tuple[str, int, int]]:
    for match in pattern.finditer(text):
        found = match.group().rstrip(trim)
        if is_real(found):
            yield kind, match.start(), match.start() + len(found)


def _kind_of_number(number: str, around: str) -> str | None:
    """What a run of digits is, from its check digits, its shape or the words around it."""
    digits = number.strip("+x")
    if digits in _COUNTING:
        return None
    if is_cn_resident_id(number.upper()):
        return "cn_resident_id"
    if is_credit_card(digits):
        return "credit_card"
    if is_us_ssn(digits) and _SSN_CUE.search(around):
        return "us_ssn"
    if _KNOWN_PHONE.fullmatch(number.rstrip("x")):
        return "phone"
    return "phone" if len(digits) <= 15 and _PHONE_CUE.search(around) else None


def _iban_end(text: str, start: int, end: int) -> int | None:
    """Where a valid IBAN ends; words may follow it without a sign between, so ends are tried."""
    for stop in range(end, start, -1):
        if text[stop - 1] != " " and is_iban(text[start:stop].replace(" ", "").upper()):
            return stop
    return None


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())
