"""Numbers in digits as they are read aloud in English and in Chinese."""

# fmt: off
_ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]
# fmt: on
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_THOUSANDS = ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}


def english_number(written: str) -> str:
    """Words of one number: `42`, `1,250`, `3.5`, `21st`; four digits from 1100 are a year."""
    if written[-1].isalpha():
        *before, last = english_number(written[:-2]).split()
        ordinal = _ORDINALS.get(last) or (last[:-1] + "ieth" if last[-1] == "y" else last + "th")
        return " ".join([*before, ordinal])
    whole, _, fraction = written.replace(",", "").partition(".")
    if len(whole) > 12 or (len(whole) > 1 and whole[0] == "0"):  # a telephone number, a code
        words = [_ONES[int(digit)] for digit in whole]
    elif "," not in written and not fraction and 1100 <= int(whole) < 2100 and whole[1:3] != "00":
        century, rest = divmod(int(whole), 100)
        tail = ["hundred"] if not rest else (["oh"] if rest < 10 else []) + _english_cardinal(rest)
        words = _english_cardinal(century) + tail
    else:
        words = _english_cardinal(int(whole))
    if fraction:
        words += ["point", *(_ONES[int(digit)] for digit in fraction)]
    return f" {' '.join(words)} "


def _english_cardinal(number: int) -> list[str]:
    if number < 20:
        return [_ONES[number]]
    if number < 100:
        tens, ones = divmod(number, 10)
        return [_TENS[tens - 2], *([_ONES[ones]] if ones else [])]
    size, name = next(pair for pair in _THOUSANDS if number >= pair[0])
    head, rest = divmod(number, size)
    return [*_english_cardinal(head), name, *(_english_cardinal(rest) if rest else [])]


_CHINESE = "零一二三四五六七八九"


def chinese_digits(written: str) -> str:
    return "".join(_CHINESE[int(digit)] for digit in written)


def chinese_number(written: str) -> str:
    """Characters of one number; more than eight digits, or a leading zero, are read one by one."""
    whole, _, fraction = written.rstrip("stndrh").replace(",", "").partition(".")
    if len(whole) > 8 or (len(whole) > 1 and whole[0] == "0"):
        spoken = chinese_digits(whole)
    else:
        spoken = _chinese_cardinal(int(whole))
    return spoken + ("点" + chinese_digits(fraction) if fraction else "")


def _chinese_cardinal(number: int) -> str:
    if number < 10:
        return _CHINESE[number]
    size, name = next(
        pair
        for pair in ((10_000, "万"), (1000, "千"), (100, "百"), (10, "十"))
        if number >= pair[0]
    )
    head, rest = divmod(number, size)
    spoken = "" if (head, size) == (1, 10) else _chinese_cardinal(head)
    if not rest:
        return spoken + name
    gap = "零" if rest < size // 10 else ""
    inner = _chinese_cardinal(rest)
    if 10 <= rest < 20:  # 110 is 一百一十, although 10 alone is 十
        inner = "一" + inner
    return spoken + name + gap + inner
