"""Rules flag what is said, and place it in time through the words."""

from typing import Any

import pytest

from schemas.column import Table
from schemas.errors import SpecError
from schemas.segments import SEGMENTS
from schemas.spans import Word
from schemas.verdict import Keep
from stages.safety.rules import RuleSafety, RuleSafetySpec
from tests.stages.make_segment import RATE_HZ, make_segment

WORD_SAMPLES = 1000


def judge(text: str | None, words: list[Any] | None = None, **spec: Any) -> dict[str, Any]:
    stage = RuleSafety(RuleSafetySpec(**spec))
    stage.open()
    (verdict,) = stage.process([make_segment(text, words=words)])
    assert isinstance(verdict, Keep)
    assert verdict.values.keys() == stage.writes
    return dict(verdict.values)


def evenly(*words: str) -> list[Word]:
    """Words of `WORD_SAMPLES` samples, one after the other."""
    return [
        Word(word, i * WORD_SAMPLES, (i + 1) * WORD_SAMPLES, 1.0) for i, word in enumerate(words)
    ]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Shut up or I'll kill you!", "violence_threat"),
        ("they wanted to blow up the school", "violence_threat"),
        ("你再来我就要杀了你", "violence_threat"),
        ("sometimes I want to die", "self_harm"),
        ("she was cutting, I mean hurting myself was a habit", "self_harm"),
        ("他说他不想活了", "self_harm"),
        ("he asked for naked pictures", "sexual"),
        ("网上的色情内容", "sexual"),
    ],
)
def test_unsafe_phrases_are_flagged_by_kind(text: str, kind: str) -> None:
    values = judge(text)
    assert values["safety_flags"] == [kind]
    assert [span["kind"] for span in values["safety_spans"]] == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "I could kill for a coffee",
        "this show is to die for",
        "the doctor will see you now",
        "they are middlesex cricketers",
        "我想死你了",
        "",
    ],
)
def test_harmless_speech_is_not_flagged(text: str) -> None:
    assert judge(text) == {"safety_flags": [], "pii_kinds": [], "safety_spans": []}


def test_no_transcript_means_that_nobody_looked() -> None:
    assert judge(None) == {"safety_flags": None, "pii_kinds": None, "safety_spans": None}


def test_a_find_is_placed_through_the_words() -> None:
    text = "Call me at four one five, five five five, two six seven one today."
    words = evenly(*text.replace(",", "").replace(".", "").split())
    values = judge(text, words)
    assert values["pii_kinds"] == ["phone"]
    assert values["safety_spans"] == [
        {"kind": "phone", "start_sample": 3 * WORD_SAMPLES, "end_sample": 13 * WORD_SAMPLES}
    ]


def test_words_may_be_rows_of_the_table() -> None:
    rows = [
        {
            "word": w.word,
            "start_sample": w.start_sample,
            "end_sample": w.end_sample,
            "confidence": 1,
        }
        for w in evenly("write", "a@example.com", "please")
    ]
    (span,) = judge("write a@example.com please", rows)["safety_spans"]
    assert (span["start_sample"], span["end_sample"]) == (WORD_SAMPLES, 2 * WORD_SAMPLES)


def test_where_words_do_not_cover_the_find_the_span_reaches_to_its_neighbours() -> None:
    # The transcript writes digits, the words were aligned as spoken.
    words = evenly("call", "four", "one", "five", "now")
    (span,) = judge("call 415-555-2671 now", words)["safety_spans"]
    assert (span["start_sample"], span["end_sample"]) == (WORD_SAMPLES, 4 * WORD_SAMPLES)


@pytest.mark.parametrize("words", [None, []])
def test_without_words_the_whole_segment_is_marked(words: list[Word] | None) -> None:
    (span,) = judge("write to a@example.com", words)["safety_spans"]
    assert (span["start_sample"], span["end_sample"]) == (0, RATE_HZ)


def test_repeated_words_are_placed_in_order() -> None:
    words = evenly("no", "i", "will", "no", "i", "will", "kill", "you")
    (span,) = judge("No. I will, no, I will kill you", words)["safety_spans"]
    assert (span["start_sample"], span["end_sample"]) == (4 * WORD_SAMPLES, 8 * WORD_SAMPLES)


def test_lists_are_sorted_and_name_each_kind_once() -> None:
    values = judge("www.example.org, a@example.com, b@example.com. I want to die. I'll kill you.")
    assert values["pii_kinds"] == ["email", "url"]
    assert values["safety_flags"] == ["self_harm", "violence_threat"]
    assert values["safety_spans"] == sorted(
        values["safety_spans"], key=lambda s: (s["start_sample"], s["end_sample"], s["kind"])
    )


def test_extra_terms_fill_the_kinds_that_ship_empty() -> None:
    terms = {"slur": ["flim flam", "乌有词"], "brand": ["Acme (TM)"]}
    assert judge("you Flim-Flam!", extra_terms=terms)["safety_flags"] == ["slur"]
    assert judge("这是乌有词吗", extra_terms=terms)["safety_flags"] == ["slur"]
    assert judge("an acme (tm) anvil", extra_terms=terms)["safety_flags"] == ["brand"]
    assert judge("flim flams", extra_terms=terms)["safety_flags"] == []
    assert judge("you flim flam!")["safety_flags"] == []


@pytest.mark.parametrize("terms", [{"Bad Kind": ["x"]}, {"email": ["x"]}, {"slur": [" "]}])
def test_extra_terms_that_cannot_be_meant_are_refused(terms: dict[str, list[str]]) -> None:
    with pytest.raises(SpecError, match="extra_terms"):
        RuleSafety(RuleSafetySpec(extra_terms=terms))


def test_values_fit_the_columns_of_the_table() -> None:
    table = Table("segments", "", 1, (), tuple(c for c in SEGMENTS.columns if "saf" in c.name))
    values = judge("I'll kill you, a@example.com")
    rows = table.to_arrow([{name: values[name] for name in values if name != "pii_kinds"}])
    assert rows.to_pylist()[0]["safety_spans"] == values["safety_spans"]
