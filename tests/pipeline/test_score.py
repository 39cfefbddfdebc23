"""Error rates are those of hand-counted examples, and no reference disappears without a word."""

import json

import pytest

from pipeline.error_rates import TextErrors, text_errors, turn_errors
from pipeline.references import Reference, ReferenceTurn
from pipeline.score import score_manifest
from pipeline.score_result import Score
from tests.pipeline.manifest_rows import connection_with, failure, recording, segment, turn


def turns(*parts: tuple[float, float, str]) -> tuple[ReferenceTurn, ...]:
    return tuple(ReferenceTurn(*part) for part in parts)


def test_words_are_counted_by_what_became_of_them() -> None:
    errors = text_errors("The cat sat on the old mat.", "the bat sat on old mat now", "en")
    assert errors == TextErrors(hits=5, substitutions=1, deletions=1, insertions=1)
    assert errors.rate == pytest.approx(3 / 7)


def test_chinese_is_counted_in_characters() -> None:
    assert text_errors("你好，世界", "你号世 界", "zh") == TextErrors(hits=3, substitutions=1)


def test_nothing_heard_is_every_word_deleted() -> None:
    assert text_errors("one two", "", "en").rate == 1.0


def test_a_reference_without_words_has_no_rate() -> None:
    assert text_errors("...", "one", "en") == TextErrors(insertions=1)
    assert TextErrors(insertions=1).rate is None


def test_speaker_names_do_not_matter_to_diarization() -> None:
    truth = turns((0, 5, "anna"), (5, 10, "bert"))
    heard = turns((0, 5, "S1"), (5, 10, "S0"))
    assert turn_errors(truth, heard, 10, collar_s=0, skip_overlap=False).rate == 0.0


def test_diarization_seconds_are_missed_invented_and_confused() -> None:
    truth = turns((0, 10, "a"), (10, 16, "b"))
    heard = turns((2, 12, "x"), (12, 18, "y"))
    errors = turn_errors(truth, heard, 20, collar_s=0, skip_overlap=False)
    assert errors.speech_s == pytest.approx(16)
    assert errors.missed_s == pytest.approx(2)  # 0-2
    assert errors.confusion_s == pytest.approx(2)  # 10-12
    assert errors.false_alarm_s == pytest.approx(2)  # 16-18
    assert errors.rate == pytest.approx(6 / 16)


def test_the_collar_lies_on_either_side_of_a_boundary() -> None:
    truth, heard = turns((2, 8, "a")), turns((2.25, 7.75, "x"))
    assert turn_errors(truth, heard, 10, collar_s=0.25, skip_overlap=True).rate == 0.0
    errors = turn_errors(truth, turns((2.35, 8, "x")), 10, collar_s=0.25, skip_overlap=True)
    assert errors.missed_s == pytest.approx(0.1)
    assert errors.speech_s == pytest.approx(5.5)


def test_overlapped_speech_counts_only_in_the_strict_figure() -> None:
    truth = turns((0, 6, "a"), (4, 10, "b"))
    heard = turns((0, 5, "x"), (5, 10, "y"))
    assert turn_errors(truth, heard, 10, collar_s=0, skip_overlap=True).rate == 0.0
    assert turn_errors(truth, heard, 10, collar_s=0, skip_overlap=False).missed_s == pytest.approx(
        2
    )


def test_a_speaker_who_overlaps_himself_is_one_speaker() -> None:
    truth = turns((0, 6, "a"), (4, 10, "a"))
    errors = turn_errors(truth, turns((0, 10, "x")), 10, collar_s=0, skip_overlap=False)
    assert errors.speech_s == pytest.approx(10)
    assert errors.rate == 0.0


def test_all_segments_count_in_order_of_start_whatever_their_verdict() -> None:
    connection = connection_with(
        recordings=[recording("/in/a.wav")],
        segments=[
            segment("/in/a.wav", 12, 15, "three four", verdict="dropped", reason="snr_db"),
            segment("/in/a.wav", 2, 5, "One, two!"),
            segment("/in/a.wav", 20, 21),
        ],
    )
    score = score_manifest(connection, {"/in/a.wav": Reference("one two three four five")})
    assert score.texts[0].errors == TextErrors(hits=4, deletions=1)
    assert score.word_error_rate == pytest.approx(1 / 5)


def test_the_corpus_figure_is_over_words_and_not_over_recordings() -> None:
    connection = connection_with(
        recordings=[recording("a"), recording("b")],
        segments=[segment("a", 0, 1, "one two three"), segment("b", 0, 1, "bad")],
    )
    score = score_manifest(
        connection, {"a": Reference("one two three", language="en"), "b": Reference("good")}
    )
    assert score.word_error_rate == pytest.approx(1 / 4)
    assert score.character_error_rate is None


def test_turns_are_read_in_seconds_of_the_recording() -> None:
    connection = connection_with(
        recordings=[recording("a", duration_s=10.0)],
        turns=[turn("a", 0, 0, 4, "S0"), turn("a", 1, 4, 10, "S1")],
    )
    score = score_manifest(connection, {"a": Reference(turns=turns((0, 5, "x"), (5, 10, "y")))})
    (scored,) = score.turns
    assert scored.strict.confusion_s == pytest.approx(1)
    assert scored.forgiving.confusion_s == pytest.approx(0.75)
    assert score.to_json()["diarization_error_rate_strict"] == pytest.approx(0.1)


def test_another_language_is_listed_and_in_no_figure() -> None:
    connection = connection_with(
        recordings=[recording("en"), recording("zh"), recording("silent"), recording("de")],
        segments=[
            segment("en", 0, 1, "one two"),
            segment("zh", 0, 1, "she one"),
            segment("de", 0, 1, "ya", asr_language="en-US"),
        ],
    )
    score = score_manifest(
        connection,
        {
            "en": Reference("one two"),
            "zh": Reference("希望你以后"),
            "silent": Reference("こんにちは世界"),
            "de": Reference("ja", language="de"),
        },
    )
    assert [text.uri for text in score.texts] == ["en"]
    assert score.word_error_rate == 0.0
    assert {one.uri: one.why for one in score.not_comparable} == {
        "de": "it is in 'de', but was transcribed as 'en'",
        "silent": "it is in 'ja'; this job transcribes en",
        "zh": "it is in 'zh', but was transcribed as 'en'",
    }


def test_the_language_of_most_seconds_speaks_for_a_recording() -> None:
    connection = connection_with(
        recordings=[recording("a")],
        segments=[
            segment("a", 0, 20, "one two"),
            segment("a", 21, 22, "drei", asr_language="de"),
        ],
    )
    score = score_manifest(connection, {"a": Reference("one two three", language="en")})
    assert score.texts[0].errors == TextErrors(hits=2, substitutions=1)


def test_nothing_heard_in_a_known_language_is_an_error_and_not_an_excuse() -> None:
    connection = connection_with(
        recordings=[recording("a"), recording("b")], segments=[segment("a", 0, 1, "one")]
    )
    score = score_manifest(connection, {"b": Reference("lost words")})
    assert score.texts[0].errors == TextErrors(deletions=2)


def test_inputs_without_output_are_listed_and_in_no_figure() -> None:
    connection = connection_with(
        recordings=[
            recording("good", duration_s=10.0),
            recording("twin", outcome="rejected", reason="exact_duplicate"),
            recording("broken", outcome="failed"),
        ],
        segments=[segment("good", 0, 1, "one")],
        failures=[failure("broken", "decode", "NOT_AUDIO", "the bytes are text")],
    )
    truth = Reference("one", turns=turns((0, 1, "a")))
    score = score_manifest(connection, dict.fromkeys(("good", "twin", "broken", "pending"), truth))
    assert score.num_references == 8
    assert (len(score.texts), len(score.turns), len(score.no_output)) == (1, 1, 6)
    assert {one.uri: one.why for one in score.no_output} == {
        "broken": "its input failed (decode: NOT_AUDIO)",
        "pending": "its input is not processed yet",
        "twin": "its input was rejected (exact_duplicate)",
    }


def test_a_job_without_the_stages_has_no_figures_but_a_word() -> None:
    connection = connection_with(recordings=[recording("a", diarize_engine=None)])
    score = score_manifest(connection, {"a": Reference("one", turns=turns((0, 1, "a")))})
    assert [one.why for one in score.no_output] == [
        "the job has transcribed nothing",
        "the job has not diarized it",
    ]
    assert score.word_error_rate is None


def test_of_two_versions_of_a_file_the_one_with_output_is_scored() -> None:
    old = recording("a", outcome="failed", source_id="zz")
    connection = connection_with(
        recordings=[old, recording("a")], segments=[segment("a", 0, 1, "one")]
    )
    assert score_manifest(connection, {"a": Reference("one")}).word_error_rate == 0.0


def test_the_lines_for_a_terminal_say_all_figures_and_all_gaps() -> None:
    connection = connection_with(
        recordings=[
            recording("/in/a.wav", duration_s=10.0),
            recording("/in/evil\x1b[31m.wav", outcome="failed"),
        ],
        segments=[segment("/in/a.wav", 0, 1, "one too")],
        turns=[turn("/in/a.wav", 0, 0, 10, "S0")],
    )
    truth = Reference("one two", turns=turns((0, 10, "a")))
    score = score_manifest(connection, {"/in/a.wav": truth, "/in/evil\x1b[31m.wav": truth})
    text = score.to_text()
    assert "word error rate 50.0 % over 1 recording: of 2 words 1 heard as others" in text
    assert "diarization error rate 0.0 % over 1 recording" in text
    assert "of 4 references 2 have no output and 0 are not comparable" in text
    assert "  50.0 %  of     2 words  a.wav" in text
    assert "no figure for the turns of evil[31m.wav: its input failed" in text
    assert "\x1b" not in text
    assert json.loads(json.dumps(score.to_json()))["word_error_rate"] == 0.5


def test_many_recordings_are_shown_worst_first() -> None:
    names = [f"r{index}" for index in range(9)]
    connection = connection_with(
        recordings=[recording(name) for name in names],
        segments=[segment(name, 0, 1, "bad" if name == "r7" else "good") for name in names],
    )
    score = score_manifest(connection, {name: Reference("good") for name in names})
    lines = score.to_text(max_rows=2).splitlines()
    assert lines[1].endswith("r7")
    assert lines[3] == "  and 7 more"


def test_no_references_at_all_says_how_to_have_some() -> None:
    assert "NAME.rttm" in Score().to_text()
    assert Score().to_json()["references"] == 0
