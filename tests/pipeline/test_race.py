"""Drivers that work on one output at the same time, with no lock, make what one alone makes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.toy_job import Rows, ToyCluster, race, run_alone, toy_cluster, write_inputs
from pipeline.manifest import Manifest
from pipeline.verify import verify

NUM_INPUTS = 15


@pytest.fixture(scope="module")
def cluster() -> Iterator[ToyCluster]:
    with toy_cluster(5) as found:
        yield found


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("race") / "in", NUM_INPUTS)


@pytest.fixture(scope="module")
def undisturbed(
    cluster: ToyCluster, inputs: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Rows]:
    found = run_alone(cluster, inputs, tmp_path_factory.mktemp("alone") / "out")
    assert len(found["recordings"]) == NUM_INPUTS + 2, "the inputs, and copies of two"
    outcomes = {row["reason"] for row in found["recordings"]}
    assert {"exact_duplicate", "near_duplicate", "no_speech"} <= outcomes
    assert len(found["shards"]) > 1
    return found


@pytest.mark.parametrize("num_drivers", [2, 5])
def test_drivers_at_once_make_one_result(
    cluster: ToyCluster,
    inputs: Path,
    undisturbed: dict[str, Rows],
    tmp_path: Path,
    num_drivers: int,
) -> None:
    found = race(cluster, inputs, tmp_path / "out", undisturbed, num_drivers)
    assert found.exit_codes == [0] * num_drivers
    assert found.differing_tables == []
    assert Manifest(tmp_path / "out").table("runs").num_rows == num_drivers
    assert verify(tmp_path / "out").problems == ()


def test_what_garbage_collection_fences_off_is_done_again(
    cluster: ToyCluster, inputs: Path, undisturbed: dict[str, Rows], tmp_path: Path
) -> None:
    for number in range(10):  # on a fast disk a collection seldom meets an attempt at work
        out = tmp_path / f"out-{number}"
        found = race(cluster, inputs, out, undisturbed, 1, collect_every_s=0.02)
        assert found.exit_codes == [0]
        assert found.differing_tables == []
        assert verify(out).problems == ()
        if Manifest(out).epoch() > 0:
            return
    pytest.fail("no attempt was fenced")
