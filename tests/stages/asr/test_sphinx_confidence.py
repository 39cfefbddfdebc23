"""The probability that a heard word is right."""

from dataclasses import replace

from stages.asr.sphinx_confidence import HeardWord, word_confidences

WORD = HeardWord("plan", start_hop=10, end_hop=40, acoustic_per_hop=-3.0, log_posterior=-0.3)


def test_no_words_have_no_confidences() -> None:
    assert word_confidences([]) == []


def test_confidence_falls_with_posterior_fit_and_plausible_length() -> None:
    (sure,) = word_confidences([WORD])
    for worse in (
        replace(WORD, log_posterior=-4.0),
        replace(WORD, acoustic_per_hop=-5.0),
        replace(WORD, end_hop=300),
    ):
        assert word_confidences([worse])[0] < sure


def test_a_word_in_bad_company_is_trusted_less() -> None:
    poor = replace(WORD, acoustic_per_hop=-6.0, log_posterior=-5.0)
    assert word_confidences([WORD, poor, poor])[0] < word_confidences([WORD, WORD, WORD])[0]


def test_confidences_stay_probabilities_at_the_extremes() -> None:
    awful = HeardWord("of", 0, 6000, acoustic_per_hop=-700.0, log_posterior=-690.0)
    perfect = HeardWord("of", 0, 20, acoustic_per_hop=0.0, log_posterior=0.0)
    assert all(0.0 <= p <= 1.0 for p in word_confidences([awful, perfect]))
