"""Thresholds drop with their reason, and rules that cannot be asked are refused."""

import math
import pickle
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.errors import SpecError
from schemas.verdict import Drop, Keep, Verdict
from stages.filter import FilterSpec, ThresholdFilter
from tests.stages.make_segment import RATE_HZ, make_segment


def build(*rules: dict[str, Any]) -> ThresholdFilter:
    return ThresholdFilter(FilterSpec.model_validate({"rules": list(rules)}))


def judge(*rules: dict[str, Any], **values: Any) -> Verdict:
    (verdict,) = build(*rules).process([make_segment(**values)])
    return verdict


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        ({"column": "snr_db", "min": 10}, 9.5, Drop("snr_db_below_min", 9.5, 10.0)),
        ({"column": "snr_db", "min": 10}, 10.0, None),
        (
            {"column": "clipping_ratio", "max": 0.01},
            0.2,
            Drop("clipping_ratio_above_max", 0.2, 0.01),
        ),
        ({"column": "num_words", "min": 3}, 2, Drop("num_words_below_min", 2.0, 3.0)),
        ({"column": "language", "one_of": ["en", "zh"]}, "zh", None),
        ({"column": "language", "one_of": ["en", "zh"]}, "de", Drop("language_not_allowed")),
        ({"column": "language", "none_of": ["de"]}, "de", Drop("language_excluded")),
        ({"column": "safety_flags", "none_of": ["violence"]}, ["self_harm"], None),
        (
            {"column": "safety_flags", "none_of": ["violence"]},
            ["self_harm", "violence"],
            Drop("safety_flags_excluded"),
        ),
        ({"column": "safety_flags", "none_of": ["violence"]}, [], None),
        (
            {"column": "snr_db", "min": 10, "reason": "too_noisy"},
            1.0,
            Drop("too_noisy", 1.0, 10.0),
        ),
    ],
)
def test_a_rule_keeps_or_drops_with_reason_figure_and_limit(
    rule: dict[str, Any], value: object, expected: Drop | None
) -> None:
    verdict = judge(rule, **{rule["column"]: value})
    assert verdict == (expected or Keep())


def test_the_first_rule_that_fails_names_the_reason() -> None:
    rules = [{"column": "rt60_s", "max": 0.5}, {"column": "snr_db", "min": 10}]
    assert judge(*rules, snr_db=0.0, rt60_s=2.0) == Drop("rt60_s_above_max", 2.0, 0.5)
    assert judge(*reversed(rules), snr_db=0.0, rt60_s=2.0) == Drop("snr_db_below_min", 0.0, 10.0)


@pytest.mark.parametrize("unmeasured", [None, math.nan])
def test_what_was_not_measured_passes_unless_the_rule_says_otherwise(
    unmeasured: float | None,
) -> None:
    rule = {"column": "rt60_s", "max": 0.5}
    assert judge(rule, rt60_s=unmeasured) == Keep()
    assert judge(rule | {"allow_null": False}, rt60_s=unmeasured) == Drop("rt60_s_null")


def test_a_column_that_no_stage_wrote_is_a_bug_and_not_a_null() -> None:
    with pytest.raises(KeyError):
        judge({"column": "snr_db", "min": 10})


def test_reads_are_the_columns_of_the_rules_that_a_stage_has_to_write() -> None:
    stage = build(
        {"column": "snr_db", "min": 1},
        {"column": "duration_s", "min": 1},
        {"column": "language", "one_of": ["en"]},
    )
    assert stage.reads == {"snr_db", "language"}
    assert pickle.loads(pickle.dumps(stage)).reads == stage.reads
    assert build({"column": "snr_db", "min": 1}).reads == {"snr_db"}


def test_columns_that_a_segment_carries_need_no_stage() -> None:
    segment = make_segment(speaker="B", overlap_s=0.75)
    cases: list[tuple[dict[str, Any], Drop]] = [
        ({"column": "duration_s", "min": 2}, Drop("duration_s_below_min", 1.0, 2.0)),
        ({"column": "end_sample", "max": 10}, Drop("end_sample_above_max", float(RATE_HZ), 10.0)),
        ({"column": "overlap_s", "max": 0.5}, Drop("overlap_s_above_max", 0.75, 0.5)),
        ({"column": "speaker", "none_of": ["B"]}, Drop("speaker_excluded")),
    ]
    for rule, expected in cases:
        assert build(rule).process([segment]) == [expected]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"column": "snr", "min": 1}, "rule 2: found column 'snr', wanted .* mean 'snr_db'"),
        ({"column": "language", "min": 1}, "rule 2: found min .* holds text; wanted none_of or"),
        ({"column": "snr_db", "one_of": ["a"]}, "rule 2: found one_of .* numbers; wanted max or"),
        ({"column": "safety_flags", "one_of": ["a"]}, "holds lists of texts; wanted none_of"),
        ({"column": "words", "none_of": ["a"]}, "wanted a column of numbers, texts"),
        ({"column": "snr_db"}, "found no limit on column 'snr_db'"),
        ({"column": "snr_db", "min": 3, "max": 1}, "found min 3.0 above max 1.0"),
    ],
)
def test_a_rule_that_cannot_be_asked_of_its_column_is_refused(
    rule: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        build({"column": "rt60_s", "max": 1}, rule)


@pytest.mark.parametrize(
    "rules", [[], [{"column": "snr_db", "min": "10"}], [{"column": "snr_db", "least": 1}]]
)
def test_a_spec_of_another_shape_is_refused(rules: list[dict[str, Any]]) -> None:
    with pytest.raises(ValidationError):
        FilterSpec.model_validate({"rules": rules})
