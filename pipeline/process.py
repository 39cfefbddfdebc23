"""Takes inputs through stages, one verdict at a time. No Ray in here: a unit of work is a list.

Every item leaves each stage kept, dropped or failed. An exception is a failure of the items that
caused it and of nothing else: a batch that raises is split until the culprit is alone.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.assemble import NamedStage
from pipeline.item_state import Failure, ItemState, SegmentState
from schemas.errors import EngineMissingError, StorageError
from schemas.verdict import Drop, Keep, Verdict
from stages.base import WORKING_VALUES, RecordingStage, Segment, SegmentStage


@dataclass
class StageClock:
    """What a stage did in this worker: items looked at and seconds of compute."""

    items: int = 0
    compute_s: float = 0.0


Clocks = dict[str, StageClock]
BatchItem = tuple[ItemState, SegmentState, Segment]


class Begins(Protocol):
    """Is told that a call of a stage begins, and with it that the one before has ended.

    `opening`: its model is being loaded; not `limited`: it may take as long as it does.
    """

    def __call__(self, stage: str, *, opening: bool = False, limited: bool = True) -> None: ...


def nobody(stage: str, *, opening: bool = False, limited: bool = True) -> None:
    """Where nobody watches."""


def run_stages(
    items: Sequence[ItemState], stages: Sequence[NamedStage], begins: Begins = nobody
) -> Clocks:
    """Runs opened stages over the items in order, changing the items in place."""
    clocks: Clocks = {}
    for named in stages:
        clock = clocks.setdefault(named.label, StageClock())
        now = cpu_or_wall(uses_gpu=named.stage.resources().num_gpus > 0)
        started = now() + named.stage.cpu_s_elsewhere()
        if isinstance(named.stage, RecordingStage):
            clock.items += _run_recording_stage(items, named, named.stage, begins)
        elif isinstance(named.stage, SegmentStage):
            clock.items += _run_segment_stage(items, named, named.stage, begins)
        clock.compute_s += now() + named.stage.cpu_s_elsewhere() - started
    return clocks


def cpu_or_wall(*, uses_gpu: bool) -> Callable[[], float]:
    """A clock of compute seconds.

    CPU seconds of this process, so that a busy neighbour is not counted as our compute; a GPU works
    while the process waits, so there the wall counts.
    """
    return time.perf_counter if uses_gpu else time.process_time


def _run_recording_stage(
    items: Sequence[ItemState], named: NamedStage, stage: RecordingStage, begins: Begins
) -> int:
    alive = [item for item in items if item.alive]
    for item in alive:
        begins(named.label)
        try:
            verdict = stage.process(item.recording())
            _check_writes(named, verdict)
        except Exception as error:  # noqa: BLE001  (the boundary: one bad item stops nobody)
            raise_if_ours(error)
            item.failure = Failure.of(named.label, error)
            continue
        item.values.update(verdict.values)
        item.values[named.engine_column] = stage.describe()
        if isinstance(verdict, Drop):
            item.drop = verdict
        elif "spans" in verdict.values:
            item.cut(item.values["spans"])
    return len(alive)


def _run_segment_stage(
    items: Sequence[ItemState], named: NamedStage, stage: SegmentStage, begins: Begins
) -> int:
    work: list[list[BatchItem]] = []
    for item in items:
        if item.alive:
            recording = item.recording()
            live = [s for s in item.segments if s.alive]
            work.append([(item, s, item.segment(s, recording)) for s in live])
    if stage.batch_by == "recording":
        batches = [batch for batch in work if batch]
    else:
        batches = batch_by_padded_seconds(
            [entry for batch in work for entry in batch], stage.max_batch_s
        )
    for batch in batches:
        _run_batch(batch, named, stage, begins)
    return sum(len(batch) for batch in batches)


def batch_by_padded_seconds(entries: list[BatchItem], max_batch_s: float) -> list[list[BatchItem]]:
    """Batches of similar length in which items x longest stays within `max_batch_s` seconds.

    A segment longer than that gets a batch of its own. The order is by length, then id, so the
    batches do not depend on the order in which segments arrived.
    """
    batches: list[list[BatchItem]] = []
    current: list[BatchItem] = []
    longest_s = 0.0
    for entry in sorted(entries, key=lambda e: (-e[2].duration_s, e[2].segment_id)):
        if current and longest_s * (len(current) + 1) > max_batch_s:
            batches.append(current)
            current = []
        if not current:
            longest_s = entry[2].duration_s  # sorted: the first of a batch is its longest
        current.append(entry)
    return [*batches, current] if current else batches


def _run_batch(
    batch: list[BatchItem], named: NamedStage, stage: SegmentStage, begins: Begins
) -> None:
    begins(named.label)
    try:
        verdicts = stage.process([segment for _, _, segment in batch])
        if len(verdicts) != len(batch):
            raise RuntimeError(f"{len(verdicts)} verdicts for {len(batch)} segments")
        for verdict in verdicts:
            _check_writes(named, verdict)
    except Exception as error:  # noqa: BLE001  (the boundary: one bad item stops nobody)
        raise_if_ours(error)
        if len(batch) == 1:
            batch[0][1].failure = Failure.of(named.label, error)
            return
        middle = len(batch) // 2
        _run_batch(batch[:middle], named, stage, begins)
        _run_batch(batch[middle:], named, stage, begins)
        return
    for (_, state, _), verdict in zip(batch, verdicts, strict=True):
        state.values.update(verdict.values)
        state.values[named.engine_column] = stage.describe()
        if isinstance(verdict, Drop):
            state.drop = verdict


def _check_writes(named: NamedStage, verdict: Verdict) -> None:
    """A stage writes what it declared, all of it when it keeps the item, and nothing else."""
    names = verdict.values.keys()
    extra = names - named.stage.writes
    missing = named.stage.writes - names if isinstance(verdict, Keep) else frozenset()
    if extra or missing:
        raise RuntimeError(
            f"engine {named.stage.engine!r} wrote {sorted(extra)} undeclared and left out "
            f"{sorted(missing)}; its `writes` and its verdicts must agree"
        )


def raise_if_ours(error: Exception) -> None:
    """What is missing or full on our side stops the job and is blamed on no item."""
    if isinstance(error, StorageError | EngineMissingError):
        raise error


def let_go_of_audio(items: Sequence[ItemState]) -> None:
    """Drops the working values once nobody needs them, so that only rows remain."""
    for item in items:
        for name in WORKING_VALUES.keys() - {"turns"}:
            item.values.pop(name, None)
