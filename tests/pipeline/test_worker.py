"""A worker and its inputs: what cannot be read, what changes under it, what is not their fault."""

import os
import resource
from pathlib import Path
from typing import Any

import pytest

from pipeline.assemble import Job, NamedStage, Pass
from pipeline.inputs import list_inputs
from pipeline.rows import rows_of
from pipeline.worker import Unit, UnitState, Worker
from schemas.errors import StorageError
from schemas.source import Source
from schemas.verdict import Verdict
from stages.base import Recording
from tests.pipeline.toy_jobs import toy_job, write_words
from tests.pipeline.toy_stages import ToyDecode


class DecodeWhileWritten(ToyDecode):
    """Somebody writes to a file called `moving`, or removes one called `gone`, as it is decoded."""

    def process(self, recording: Recording) -> Verdict:
        path = recording.values["path"]
        verdict = super().process(recording)
        if path.stem.startswith("moving"):
            path.write_text(path.read_text() + " and more")
        if path.stem.startswith("gone"):
            path.unlink()
        return verdict


def worker_for(folder: Path) -> tuple[Job, Worker]:
    job = toy_job(folder, folder / "out")
    stages = (NamedStage("decode", DecodeWhileWritten(ToyDecode.Spec())), *job.stages[1:])
    job = Job(spec=job.spec, stages=stages, passes=(Pass(stages),))
    return job, Worker(job, folder / "out", None)


def begun(folder: Path) -> UnitState:
    job, worker = worker_for(folder)
    unit = Unit("u", list_inputs(job.spec.inputs).sources, 0)
    return worker.begin(unit, [named.label for named in job.stages])


def by_name(state: UnitState) -> dict[str, Any]:
    return {Path(item.source.uri).stem: item for item in state.items}


def test_a_file_that_changes_while_it_is_decoded_fails_and_no_other(tmp_path: Path) -> None:
    words = {"a": "good", "moving": "good", "moving-silent": "silent", "gone": "good", "z": "good"}
    items = by_name(begun(write_words(tmp_path / "in", words)))
    classes = {name: item.failure and item.failure.error_class for name, item in items.items()}
    assert classes == {
        "a": None,
        "z": None,
        "moving": "CHANGED",
        "moving-silent": "CHANGED",
        "gone": "UNREADABLE",
    }
    assert "changed since it was listed" in items["moving"].failure.message
    rows = rows_of(items.values())
    assert {row["source_id"] for row in rows["segments"]} == {
        items[name].source.source_id for name in "az"
    }
    moved = next(row for row in rows["recordings"] if row["uri"].endswith("moving-silent.txt"))
    assert (moved["outcome"], moved["kept_s"], moved.get("reason")) == ("failed", 0, None)


def test_an_error_of_the_disk_is_the_inputs_and_in_its_own_words(tmp_path: Path) -> None:
    # A regular file whose first byte no one can read: address 0 of this process.
    status = os.stat("/proc/self/mem")
    source = Source("/proc/self/mem", status.st_size, str(status.st_mtime_ns))
    _, worker = worker_for(tmp_path)
    (item,) = worker.begin(Unit("u", (source,), 0), ["decode"]).items
    for failure in (item.failure, worker.hash_source(source).failure):
        assert failure is not None
        assert (failure.stage, failure.error_class) == ("fetch", "UNREADABLE")
        assert failure.message == "/proc/self/mem cannot be read: Input/output error"
        assert failure.traceback is None


def test_a_machine_without_descriptors_is_blamed_on_no_input(tmp_path: Path) -> None:
    folder = write_words(tmp_path / "in", {"a": "good"})
    job, worker = worker_for(folder)
    (source,) = list_inputs(job.spec.inputs).sources
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        with pytest.raises(StorageError, match=r"a\.txt cannot be read: Too many open files"):
            worker.hash_source(source)
        with pytest.raises(StorageError, match="this machine has run out of it"):
            worker.begin(Unit("u", (source,), 0), ["decode"])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert worker.hash_source(source).alive
