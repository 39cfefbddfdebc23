"""What a family of faults is asked, in a test."""

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.faults.family import Asked, Shared


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    return Asked(
        name="tests",
        seed=3,
        is_long=False,
        shared=Shared(tmp_path, ExitStack()),
        deadline=time.monotonic() + 60,
    )
