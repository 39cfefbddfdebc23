"""Check digits and shapes that tell a real number from a row of digits."""

import datetime as dt
import re

_CARD_NETWORKS = re.compile(
    r"4\d{12}(?:\d{3}){0,2}"  # Visa: 13, 16 or 19 digits
    r"|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|6(?:011|5\d\d|4[4-9]\d)\d{12}"  # Discover
    r"|35(?:2[89]|[3-8]\d)\d{12}"  # JCB
    r"|3(?:0[0-5]|[68]\d)\d{11}"  # Diners
    r"|62\d{14,17}"  # UnionPay
)
_IBAN_LENGTHS = {
    country: int(length)
    for country, length in re.findall(
        r"([A-Z]{2})(\d\d)",
        "AD24 AE23 AT20 BE16 BG22 CH21 CY28 CZ24 DE22 DK18 EE20 ES24 FI18 FR27 "
        "GB22 GR27 HR21 HU28 IE22 IL23 IS26 IT27 LI21 LT20 LU20 LV21 MC27 MT31 "
        "NL18 NO15 PL28 PT25 RO24 SA24 SE24 SI19 SK24 TR26 ",
    )
}
_RESIDENT_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_RESIDENT_CHECK = "10X98765432"


def is_credit_card(digits: str) -> bool:
    """A length and prefix that a card network uses, and a valid Luhn digit (ISO/IEC 7812-1)."""
    return _CARD_NETWORKS.fullmatch(digits) is not None and luhn_sum(digits) % 10 == 0


def luhn_sum(digits: str) -> int:
    """Sum of digits, every second one from the right doubled; a multiple of 10 when valid."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total


def is_iban(text: str) -> bool:
    """Country, its length, and remainder 1 modulo 97 (ISO 13616). No spaces, upper case."""
    if _IBAN_LENGTHS.get(text[:2]) != len(text) or not text.isascii() or not text.isalnum():
        return False
    return int("".join(str(int(character, 36)) for character in text[4:] + text[:4])) % 97 == 1


def is_us_ssn(digits: str) -> bool:
    """Nine digits of which no group is one that is never given out; there is no check digit."""
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    never = area in {"000", "666"} or area[0] == "9" or group == "00" or serial == "0000"
    return len(digits) == 9 and not never


def is_cn_resident_id(text: str) -> bool:
    """18 characters with a possible birthday and the check character of GB 11643-1999."""
    if not re.fullmatch(r"[1-9]\d{16}[\dX]", text):
        return False
    try:
        born = dt.date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return False
    total = sum(
        int(digit) * weight for digit, weight in zip(text[:17], _RESIDENT_WEIGHTS, strict=True)
    )
    return 1900 <= born.year <= 2099 and _RESIDENT_CHECK[total % 11] == text[17]


def is_ipv4(text: str) -> bool:
    """Four numbers from 0 to 255 without leading zeros."""
    parts = text.split(".")
    return len(parts) == 4 and all(p.isdigit() and str(int(p)) == p and int(p) < 256 for p in parts)
