"""A small output with committed shards, made once."""

from pathlib import Path

import pytest

from benchmarks.made_output import commit_shards, made_rows

NUM_ROWS = 150


def frames(num_rows: int = NUM_ROWS) -> list[int]:
    """Lengths of 3 to 61 frames, and every 40th row longer than the tests' context."""
    return [300 if row % 40 == 7 else 3 + row * 37 % 59 for row in range(num_rows)]


@pytest.fixture(scope="session")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 rows in three shards of two or four row groups."""
    out = tmp_path_factory.mktemp("loader") / "out"
    commit_shards(out, made_rows(frames()), rows_per_shard=60, rows_per_group=17)
    return out


@pytest.fixture(scope="session")
def other_output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """70 other rows in one shard."""
    out = tmp_path_factory.mktemp("loader") / "other"
    commit_shards(out, made_rows(frames(70), seed=1), rows_per_group=23)
    return out


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where loaders of the tests keep their plans."""
    return tmp_path_factory.mktemp("loader-cache")
