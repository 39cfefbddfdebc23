"""Spelling is not an error: both sides of a comparison come out in one form."""

import pytest

from pipeline.spoken_numbers import chinese_number, english_number
from pipeline.transcript_text import language_by_script, tokens


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("Hello, World!", "hello world"),
        ("DON'T don’t dont", "dont dont dont"),
        ("forty-two line", "forty two line"),
        ("ﬁne ＡＢＣ", "fine abc"),
        ("Mr. Smith & Dr. Who", "mister smith and doctor who"),
        ("at 3pm, 50%", "at three pm fifty percent"),
        ("in 1984 and 2005, 1,250 of 3.5", None),
    ],
)
def test_english_is_folded(written: str, spoken: str | None) -> None:
    wanted = spoken or (
        "in nineteen eighty four and two thousand five one thousand two hundred fifty of three "
        "point five"
    )
    assert " ".join(tokens(written, "en")) == wanted


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("0", "zero"),
        ("13", "thirteen"),
        ("40", "forty"),
        ("101", "one hundred one"),
        ("1900", "nineteen hundred"),
        ("1905", "nineteen oh five"),
        ("2000", "two thousand"),
        ("2024", "twenty twenty four"),
        ("1000000", "one million"),
        ("007", "zero zero seven"),
        ("1st", "first"),
        ("20th", "twentieth"),
        ("22nd", "twenty second"),
    ],
)
def test_english_numbers_are_read_aloud(written: str, spoken: str) -> None:
    assert english_number(written).strip() == spoken


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("7", "七"),
        ("10", "十"),
        ("12", "十二"),
        ("20", "二十"),
        ("101", "一百零一"),
        ("110", "一百一十"),
        ("1001", "一千零一"),
        ("10500", "一万零五百"),
        ("120000", "十二万"),
        ("3.14", "三点一四"),
        ("13800138000", "一三八零零一三八零零零"),
    ],
)
def test_chinese_numbers_are_read_aloud(written: str, spoken: str) -> None:
    assert chinese_number(written) == spoken


def test_chinese_is_compared_by_character() -> None:
    assert tokens("在2024年，增长 5%。", "zh") == list("在二零二四年增长百分之五")


def test_a_combining_mark_stays_in_its_word() -> None:
    assert tokens("नमस्ते दुनिया", "hi") == ["नमस्ते", "दुनिया"]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("希望你以后能够做的比我还好呦。", "zh"),
        ("客観的実在の判断的知識が成立する", "ja"),
        ("안녕하세요", "ko"),
        ("Das ist gut", None),
        ("...", None),
    ],
)
def test_some_scripts_give_the_language_away(text: str, language: str | None) -> None:
    assert language_by_script(text) == language
