"""One sweep over the inputs: units out to the workers, commits in, duplicates settled between."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from pipeline.assemble import NamedStage, Pass
from pipeline.breaker import Blame, Breaker, blames_of
from pipeline.commit import Outcome
from pipeline.engine import Engine
from pipeline.fit import stations_of
from pipeline.item_state import Failure, ItemState
from pipeline.manifest import write_rows
from pipeline.output import Output
from pipeline.process import Clocks
from pipeline.rows import Rows, rows_of
from pipeline.store import DataFile
from pipeline.units import PlannedUnit
from pipeline.work import Poison, Step, Work
from pipeline.worker import Unit, UnitResult, add_clocks
from schemas.ids import ID_HEX_DIGITS, digest
from schemas.source import Source
from schemas.verdict import Drop
from stages.base import DatasetStage, Duplicate

OnUnit = Callable[[UnitResult], None]
OnTick = Callable[[], None]
NO_BYTES = hashlib.sha256().hexdigest()[:ID_HEX_DIGITS]
"""recording_id of an empty file."""


def run_sweep(
    engine: Engine,
    output: Output,
    sweep: Pass,
    *,
    last: bool,
    on_unit: OnUnit,
    on_tick: OnTick,
) -> None:
    """Takes what is left to do through the stages of a sweep; returns once all is committed.

    Whoever commits: a unit that another driver was faster with is simply done. A unit that garbage
    collection fenced off is done again.
    """
    steps = _steps(sweep.stages, last)
    breaker = Breaker(engine.job.spec.run.breaker_inputs)

    def commit(result: UnitResult) -> None:
        breaker.commit(result.blames, lambda: _commit(output, result, on_unit))

    def on_done(_: Work, result: UnitResult) -> None:
        breaker.see(result.blames)
        commit(result)

    def on_poison(entry: Poison) -> None:
        breaker.see((entry.blame,))

    while units := output.open_units(sweep):
        works = _attempts(output, units, steps)
        poison = engine.stream(works, on_done, on_tick=on_tick, on_poison=on_poison)
        for entry in poison:
            commit(_one_by_one(engine, output, entry, steps, breaker, on_tick))
        breaker.close()


def settle_exact_duplicates(
    engine: Engine, output: Output, on_unit: OnUnit, on_tick: OnTick
) -> None:
    """Rejects every input whose bytes an earlier one has. Only files of equal size are read.

    Settled once, for good: an input that had to be read for it and could not be is failed.
    """
    unit_id = digest("exact-duplicates")
    if output.manifest.is_committed(unit_id):
        return
    by_size: dict[int, list[Source]] = defaultdict(list)
    for source in output.sources:
        by_size[source.size_bytes].append(source)
    # A store that tells no sizes tells 0, so these are read as well.
    suspects = [s for same in by_size.values() if len(same) > 1 for s in same]
    breaker = Breaker(engine.job.spec.run.breaker_inputs)
    read: list[ItemState] = []

    def remember(_: Work, item: ItemState) -> None:
        breaker.see((_blame(item),))
        read.append(item)

    def on_poison(entry: Poison) -> None:
        breaker.see((entry.blame,))

    step = Step("cpu", "hash_source")
    works = (Work(f"hash/{s.source_id}", s, (s,), (step,)) for s in suspects)
    for entry in engine.stream(works, remember, on_tick=on_tick, on_poison=on_poison):
        read.append(_poisoned(entry.work.key, entry))
    first: dict[str, Source] = {}
    items = []
    # The shortest name stays: copies are called `x (1).wav` or `x-copy.wav`.
    for item in sorted(read, key=lambda i: (len(i.source.uri), i.source.uri)):
        if item.recording_id is None:
            items.append(item)
            continue
        if item.recording_id == NO_BYTES:
            continue  # empty files repeat nothing; their own sweep fails them
        kept = first.setdefault(item.recording_id, item.source)
        if kept is not item.source:
            repeat = Duplicate(item.source.source_id, kept.source_id, 1.0)
            items.append(_repeated(item.source, item.recording_id, repeat, "exact_duplicate", None))
    _settle(output, unit_id, items, on_unit)


def settle_near_duplicates(output: Output, barrier: NamedStage, on_unit: OnUnit) -> None:
    """Rejects every recording that the barrier's stage links to one that is kept."""
    stage = barrier.stage
    if not isinstance(stage, DatasetStage):
        raise TypeError(f"{barrier.label} is no DatasetStage")
    unit_id = digest("near-duplicates", barrier.label, stage.fingerprint())
    if output.manifest.is_committed(unit_id):
        return
    rows = output.manifest.table("sketches").to_pylist()
    by_id = {source.source_id: source for source in output.sources}
    row_of = {row["source_id"]: row for row in rows}
    limit = getattr(stage.spec, "threshold", None)
    items = []
    for repeat in stage.link(rows):
        row = row_of[repeat.source_id]
        source = by_id[repeat.source_id]
        item = _repeated(source, row["recording_id"], repeat, "near_duplicate", limit)
        item.values["decoded_s"] = row["decoded_s"]
        items.append(item)
    _settle(output, unit_id, items, on_unit)


def _attempts(
    output: Output, units: Sequence[PlannedUnit], steps: tuple[Step, ...]
) -> Iterator[Work]:
    """Work as the engine takes it on: only then is it known in which epoch, or if at all."""
    for unit in units:
        if output.manifest.is_committed(unit.unit_id):
            continue
        attempt = Unit(unit.unit_id, unit.sources, output.manifest.epoch())
        yield Work(unit.unit_id, attempt, (attempt,), steps, len(unit.sources))


def _steps(stages: Iterable[NamedStage], last: bool) -> tuple[Step, ...]:
    first, *rest = stations_of(stages)
    if not rest:
        return (Step(first.kind, "run_unit", (first.labels, last)),)
    return (
        Step(first.kind, "begin", (first.labels,)),
        *(Step(station.kind, "go_on", (station.labels,)) for station in rest[:-1]),
        Step(rest[-1].kind, "end", (rest[-1].labels, last)),
    )


def _commit(output: Output, result: UnitResult, on_unit: OnUnit) -> None:
    outcome = output.manifest.commit(result.unit_id, result.files, result.epoch)
    if outcome is Outcome.COMMITTED:
        on_unit(result)


def _one_by_one(
    engine: Engine,
    output: Output,
    entry: Poison,
    steps: tuple[Step, ...],
    breaker: Breaker,
    on_tick: OnTick,
) -> UnitResult:
    """Takes a unit that ended its worker apart: the one input that did it is failed.

    Its parts are one unit still: they are committed together.
    """
    unit: Unit = entry.work.key
    results: list[UnitResult] = []

    def on_done(_: Work, result: UnitResult) -> None:
        breaker.see(result.blames)
        results.append(result)

    def on_poison(end: Poison) -> None:
        breaker.see((end.blame,))

    poison = [entry]
    if len(unit.sources) > 1:
        parts = (Unit(unit.unit_id, (source,), unit.epoch) for source in unit.sources)
        works = (
            Work(f"{unit.unit_id}/{part.sources[0].source_id}", part, (part,), steps)
            for part in parts
        )
        poison = engine.stream(works, on_done, on_tick=on_tick, on_poison=on_poison)
    for end in poison:
        rows = rows_of([_poisoned(end.work.key.sources[0], end)])
        files = write_rows(output.out, unit.unit_id, unit.epoch, rows)
        results.append(_result(unit.unit_id, unit.epoch, rows, files))
    return _merged(results)


def _poisoned(source: Source, entry: Poison) -> ItemState:
    item = ItemState(source)
    message = (
        f"{source.uri} ended its worker {entry.attempts} times ({entry.cause}); "
        "look at the file, or exclude it with inputs.exclude"
    )
    item.failure = Failure(entry.stage or "worker", entry.error_class, message)
    return item


def _blame(item: ItemState) -> Blame | None:
    failure = item.failure
    if failure is None:
        return None
    return Blame(item.source.source_id, failure.stage, failure.error_class, failure.message)


def _repeated(
    source: Source, recording_id: str, repeat: Duplicate, reason: str, limit: float | None
) -> ItemState:
    item = ItemState(source, recording_id)
    item.drop = Drop(reason, measured=repeat.similarity, limit=limit)
    item.values["duplicate_of"] = repeat.duplicate_of
    item.values["duplicate_similarity"] = repeat.similarity
    return item


def _settle(output: Output, unit_id: str, items: list[ItemState], on_unit: OnUnit) -> None:
    """Commits rows that the driver itself made. An empty unit is committed too: it was settled."""
    rows = rows_of(items)
    outcome = output.manifest.commit_rows(unit_id, rows)
    if outcome is Outcome.COMMITTED and items:
        on_unit(_result(unit_id, 0, rows, []))


def _result(unit_id: str, epoch: int, rows: Rows, files: Sequence[DataFile]) -> UnitResult:
    """Of rows that the driver itself made."""
    recordings = rows["recordings"]
    return UnitResult(
        unit_id=unit_id,
        epoch=epoch,
        files=tuple(files),
        clocks={},
        num_inputs=len(recordings),
        num_bytes=sum(row["size_bytes"] for row in recordings),
        num_by_outcome=dict(Counter(row["outcome"] for row in recordings)),
        blames=blames_of(rows, len(recordings)),
        num_segments=0,
        num_kept=0,
        decoded_s=0.0,
        ended_s=sum(row.get("decoded_s") or 0.0 for row in recordings),
        kept_s=0.0,
    )


def _merged(results: Sequence[UnitResult]) -> UnitResult:
    """One result of a unit's parts."""
    clocks: Clocks = {}
    outcomes: Counter[str] = Counter()
    for result in results:
        add_clocks(clocks, result.clocks)
        outcomes.update(result.num_by_outcome)
    return UnitResult(
        unit_id=results[0].unit_id,
        epoch=results[0].epoch,
        files=tuple(file for result in results for file in result.files),
        clocks=clocks,
        num_inputs=sum(result.num_inputs for result in results),
        num_bytes=sum(result.num_bytes for result in results),
        num_by_outcome=dict(outcomes),
        blames=tuple(blame for result in results for blame in result.blames),
        num_segments=sum(result.num_segments for result in results),
        num_kept=sum(result.num_kept for result in results),
        decoded_s=sum(result.decoded_s for result in results),
        ended_s=sum(result.ended_s for result in results),
        kept_s=sum(result.kept_s for result in results),
    )
