"""The steps of a job that write, each on its own, so that a fault can meet it anywhere.

Each step is prepared, then done, here or in a process that is to die of it; what is on the disk
afterwards must be a whole state, and doing the step again must lead to its end.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.faults.compare import Difference, difference
from pipeline import delta_store
from pipeline.commit import Outcome
from pipeline.delta_store import SHARDS_FOLDER
from pipeline.files import sha256_of, write_parquet
from pipeline.garbage import collect
from pipeline.inputs import list_inputs
from pipeline.manifest import Manifest, write_rows
from pipeline.output import find_output, open_output
from pipeline.store import DataFile
from schemas.manifest import TABLES
from tests.pipeline.manifest_rows import failure, recording, segment
from tests.pipeline.toy_jobs import toy_job, write_words

UNITS = ("first", "second", "third")
Rows = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Step:
    """A step, how the output is made that it is done to, and what must be so after it."""

    prepare: Callable[[Path], None]
    do: Callable[[Path], None]
    units: frozenset[str]
    """Of an output on which it was done."""
    units_before: frozenset[str] = frozenset()
    no_garbage: bool = False
    num_checkpoints: int = 0
    """Of an output on which it was done without a fault."""
    from_call: str | None = None
    """The first system call that is the step's own; what comes before is that of another step."""


def rows_of_unit(unit: str) -> dict[str, list[dict[str, Any]]]:
    """Rows of one unit in three tables."""
    return {
        "recordings": [recording(f"{unit}.wav"), recording(f"{unit}-bad.wav", outcome="failed")],
        "segments": [segment(f"{unit}.wav", start, start + 2.0, "hello") for start in range(9)],
        "failures": [failure(f"{unit}-bad.wav", "decode", "NOT_AUDIO", "no audio")],
    }


def _inputs(out: Path) -> Path:
    return out.with_name("in")


def _write_inputs(out: Path) -> None:
    write_words(_inputs(out), {"a": "good", "b": "bad"})


def _begin(out: Path) -> None:
    job = toy_job(_inputs(out), out)
    open_output(job, list_inputs(job.spec.inputs))


def _commit(out: Path, unit: str) -> None:
    """As a worker and its driver do together: rows and a shard, then one entry."""
    manifest = Manifest(out)
    epoch = manifest.epoch()
    files = [*write_rows(out, unit, epoch, rows_of_unit(unit)), _shard(out, unit, epoch)]
    outcome = manifest.commit(unit, files, epoch)
    if outcome is Outcome.FENCED:
        raise RuntimeError(f"{unit} was fenced off and nobody collects garbage")


def _shard(out: Path, unit: str, epoch: int) -> DataFile:
    table = pa.table({"q0": pa.array([list(range(500))] * 20, pa.list_(pa.uint16()))})
    return write_parquet(table, out, SHARDS_FOLDER, unit, epoch)


def _prepare_commit(out: Path) -> None:
    _write_inputs(out)
    _begin(out)
    _commit(out, UNITS[0])


def _prepare_checkpoint(out: Path) -> None:
    """With an earlier one, to build upon."""
    _prepare_commit(out)
    _commit_with_checkpoint(out, UNITS[1])


def _commit_with_checkpoint(out: Path, unit: str) -> None:
    usual = delta_store.COMMITS_PER_CHECKPOINT
    delta_store.COMMITS_PER_CHECKPOINT = 1
    try:
        _commit(out, unit)
    finally:
        delta_store.COMMITS_PER_CHECKPOINT = usual


def _prepare_collect(out: Path) -> None:
    _prepare_commit(out)
    for unit in UNITS[1:]:
        write_rows(out, unit, 0, rows_of_unit(unit))
        _shard(out, unit, 0)


def _collect(out: Path) -> None:
    collect(Manifest(out).store, lambda _: True)


STEPS = {
    "begin": Step(
        prepare=_write_inputs,
        do=_begin,
        units=frozenset(),
    ),
    "commit": Step(
        prepare=_prepare_commit,
        do=lambda out: _commit(out, UNITS[1]),
        units_before=frozenset(UNITS[:1]),
        units=frozenset(UNITS[:2]),
    ),
    "checkpoint": Step(
        prepare=_prepare_checkpoint,
        do=lambda out: _commit_with_checkpoint(out, UNITS[2]),
        from_call="link",
        units_before=frozenset(UNITS[:2]),
        units=frozenset(UNITS),
        num_checkpoints=2,
    ),
    "collect": Step(
        prepare=_prepare_collect,
        do=_collect,
        units_before=frozenset(UNITS[:1]),
        units=frozenset(UNITS[:1]),
        no_garbage=True,
    ),
}


def problems(
    step: Step, out: Path, *, done: bool, disturbed: bool = False
) -> tuple[list[str], Difference]:
    """What is wrong with an output on which the step was begun, or `done`.

    A step that was `disturbed` may leave files that no commit names.
    """
    job = toy_job(_inputs(out), out)
    found = find_output(job, list_inputs(job.spec.inputs))
    if found is None:
        if done or step.units_before:
            return ["it is no output any more"], Difference()
        return [], Difference()
    said = []
    units = found.manifest.units() & set(UNITS)
    if units != step.units and (done or units != step.units_before):
        said.append(f"units {sorted(units)}")
    committed = found.manifest.store.committed_files()
    for file in committed:
        path = out / file.name
        if not path.is_file() or sha256_of(path) != file.sha256:
            said.append(f"{file.name} is committed and not whole")
    said += delta_store.wrong_checkpoints(out)
    if said:
        return said, Difference()
    if done and step.no_garbage and not disturbed:
        left = set(found.manifest.store.list_files()) - {file.name for file in committed}
        said += [f"{name} is left" for name in sorted(left)]
    tables = {name: found.manifest.table(name).to_pylist() for name in TABLES}
    apart = difference(_rows(units), tables)
    return [*said, *([str(apart)] if apart else [])], apart


def _rows(units: frozenset[str] | set[str]) -> Rows:
    """Rows of those units as the tables give them back."""
    return {
        name: [
            row
            for unit in units
            for row in table.to_arrow(rows_of_unit(unit).get(name, [])).to_pylist()
        ]
        for name, table in TABLES.items()
    }


def num_checkpoints(out: Path) -> int:
    """How many checkpoints of an output are proved."""
    return len(list((out / delta_store.LOG_FOLDER).glob("*.checkpoint.sha256")))
