"""A store that refuses every third request, or loses its answer: slower, and the same tables."""

import logging
from pathlib import Path

import pytest

from pipeline.commit import Outcome
from pipeline.manifest import Manifest
from pipeline.working_copy import folder_of, unused_copy
from tests.pipeline.manifest_rows import recording
from tests.pipeline.s3_server import App, Throttling, s3_server

UNITS = [f"unit-{number}" for number in range(6)]


@pytest.mark.parametrize("does_it", [False, True])
def test_commits_to_a_throttled_store_are_made_once_and_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, does_it: bool
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # the server tells of every request
    made: list[Throttling] = []

    def throttle(app: App) -> App:
        made.append(Throttling(app, 3, does_it=does_it))
        return made[0]

    with s3_server(throttle) as uri:
        out = folder_of(f"{uri}/out")
        manifest = Manifest.create(out)
        for unit in UNITS:
            outcome = manifest.commit_rows(unit, {"recordings": [recording(f"{unit}.wav")]})
            assert outcome in (Outcome.COMMITTED, Outcome.ALREADY)
        with unused_copy(out) as copy:
            anew = Manifest(copy)
            assert anew.units() == set(UNITS)
            uris = anew.table("recordings")["uri"].to_pylist()
            assert anew.store.refresh() == len(UNITS)
    assert sorted(uris) == [f"{unit}.wav" for unit in UNITS]
    assert made[0].num_refused > len(UNITS)
