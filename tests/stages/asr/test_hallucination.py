"""Signs of made-up transcripts, in English and in Chinese."""

import pytest

from stages.asr.hallucination import compression_ratio, hallucination_signs, spoken_units

ENGLISH = "The invention of movable metal letters may justly be considered as that of printing."
CHINESE = "大学生网购毕业设计作品后赖账，卖家举报其学校。"


@pytest.mark.parametrize(
    "text", ["", "Yes.", "No, no, no!", ENGLISH, CHINESE, "广州市房地产中介协会分析"]
)
def test_ordinary_speech_raises_no_suspicion(text: str) -> None:
    assert hallucination_signs(text, duration_s=6.0) == []


@pytest.mark.parametrize("text", ["thank you " * 8, "谢谢" * 10, "Ja ja JA ja, ja ja."])
def test_a_loop_has_few_unique_words(text: str) -> None:
    assert "few_unique_words" in hallucination_signs(text, duration_s=20.0)


@pytest.mark.parametrize(("letters", "found"), [(24, False), (25, True)])
def test_a_word_of_25_letters_is_a_sign(letters: int, found: bool) -> None:
    signs = hallucination_signs(f"and then {'abcde' * 5}"[: 9 + letters], duration_s=5.0)
    assert ("long_word" in signs) is found


def test_a_run_of_chinese_characters_is_no_long_word() -> None:
    assert (
        hallucination_signs("却存在对基金持有人中小投资者利益考虑不足的情况而且很少有人注意到", 9.0)
        == []
    )


@pytest.mark.parametrize(("duration_s", "found"), [(2.0, True), (2.2, False)])
def test_forty_characters_a_second_is_the_limit(duration_s: float, found: bool) -> None:
    assert len(ENGLISH) == 84
    assert ("too_fast" in hallucination_signs(ENGLISH, duration_s)) is found


@pytest.mark.parametrize(("times", "found"), [(3, False), (4, True)])
@pytest.mark.parametrize(
    "phrase", ["one two three four five six seven eight nine ten ", "甲乙丙丁戊己庚辛壬癸，"]
)
def test_a_phrase_said_four_times_is_a_sign(phrase: str, times: int, found: bool) -> None:
    assert ("repeated_phrase" in hallucination_signs(phrase * times, 60.0)) is found


def test_units_are_words_and_single_characters_of_unspaced_scripts() -> None:
    assert spoken_units("It's well-known -- isn't it?") == ["it's", "well-known", "isn't", "it"]
    assert spoken_units("我用GPT写code。") == ["我", "用", "gpt", "写", "code"]
    assert spoken_units("それはカメラ") == list("それはカメラ")
    assert spoken_units("नमस्ते दुनिया") == ["नमस्ते", "दुनिया"]
    assert spoken_units("Übergröße 2.5") == ["übergrösse", "2", "5"]
    assert spoken_units("♪ ... ♪") == []


def test_repetition_compresses() -> None:
    assert compression_ratio("") == 0.0
    assert compression_ratio(ENGLISH) < 1.5
    assert compression_ratio("thank you " * 30) > 2.4
