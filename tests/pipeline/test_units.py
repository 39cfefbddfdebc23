"""Units are the same for whoever asks, whatever is done already."""

import random
from pathlib import Path

import pytest

from pipeline.assemble import Pass
from pipeline.manifest import Manifest
from pipeline.units import UnitRule, make_units, open_units
from schemas.job import RunSpec
from schemas.source import Source
from tests.pipeline.toy_jobs import toy_job

RULE = UnitRule(max_inputs=3, max_bytes=1000)


def sources(*sizes: int) -> list[Source]:
    return [Source(f"{index:03}.wav", size, "1") for index, size in enumerate(sizes)]


def ended(source: Source) -> dict[str, object]:
    return {
        "source_id": source.source_id,
        "uri": source.uri,
        "size_bytes": source.size_bytes,
        "etag": source.etag,
        "outcome": "rejected",
    }


@pytest.fixture
def sweep(tmp_path: Path) -> Pass:
    return toy_job(tmp_path / "in", tmp_path / "out").passes[0]


def test_units_follow_from_the_inputs_and_the_rule_alone() -> None:
    inputs = sources(*(random.Random(0).choices(range(1, 700), k=40)))
    units = make_units(inputs, "tag", RULE)
    shuffled = random.Random(1).sample(inputs, len(inputs))
    assert make_units(shuffled, "tag", RULE) == units
    assert sorted(s.uri for unit in units for s in unit.sources) == [s.uri for s in inputs]
    assert len({unit.unit_id for unit in units}) == len(units)
    for unit in units:
        assert len(unit.sources) <= 3
        assert len(unit.sources) == 1 or sum(s.size_bytes for s in unit.sources) <= 1000
    others = make_units(inputs, "other", RULE)
    assert {u.unit_id for u in others}.isdisjoint(u.unit_id for u in units)


@pytest.mark.parametrize(("num_inputs", "expected"), [(1, 1), (256, 1), (257, 2), (10**6, 64)])
def test_a_small_job_commits_every_input_and_a_large_one_many_together(
    num_inputs: int, expected: int
) -> None:
    assert UnitRule.of(RunSpec(), num_inputs).max_inputs == expected
    assert UnitRule.of(RunSpec(inputs_per_unit=7), num_inputs).max_inputs == 7


def test_what_ended_before_the_sweep_is_skipped_under_the_same_id(
    tmp_path: Path, sweep: Pass
) -> None:
    manifest = Manifest.create(tmp_path / "out")
    inputs = sources(*[10] * 7)
    fresh = open_units(manifest, inputs, RULE, sweep)
    assert [len(unit.sources) for unit in fresh] == [3, 3, 1]
    # Settled before the sweep: two of the first unit, and all of the last.
    manifest.commit_rows(
        "settled", {"recordings": [ended(inputs[0]), ended(inputs[2]), ended(inputs[6])]}
    )
    left = open_units(manifest, inputs, RULE, sweep)
    assert [unit.unit_id for unit in left] == [unit.unit_id for unit in fresh[:2]]
    assert left[0].sources == (inputs[1],)
    manifest.commit_rows(fresh[0].unit_id, {"recordings": [ended(inputs[1])]})
    assert open_units(manifest, inputs, RULE, sweep) == [fresh[1]]
