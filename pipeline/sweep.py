"""One sweep over the inputs: units out to the workers, commits in, duplicates settled between."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from pipeline.assemble import NamedStage, Pass
from pipeline.engine import Engine, Poison, Step, Work
from pipeline.fit import stations_of
from pipeline.item_state import Failure, ItemState
from pipeline.manifest import write_rows
from pipeline.output import Output
from pipeline.rows import rows_of
from pipeline.worker import Unit, UnitResult
from schemas.ids import digest
from schemas.source import Source
from schemas.verdict import Drop
from stages.base import DatasetStage, Duplicate

MAX_INPUTS_PER_UNIT = 64
UNITS_WORTH_SPLITTING = 256
"""Below so many inputs a unit is one input: commits are cheap and workers even out."""
MAX_UNIT_BYTES = 16 * 2**20
"""About half an hour of compressed speech: what a worker holds decoded at once."""

OnUnit = Callable[[UnitResult], None]


def run_sweep(
    engine: Engine,
    output: Output,
    sweep: Pass,
    sources: Sequence[Source],
    *,
    last: bool,
    on_unit: OnUnit,
    on_tick: Callable[[], None],
) -> None:
    """Takes `sources` through the stages of a sweep and commits unit by unit."""
    tag = digest(*(f"{n.label}={n.stage.fingerprint()}" for n in sweep.stages))
    per_unit = engine.job.spec.run.inputs_per_unit
    units = make_units(sources, tag, per_unit)
    while units:
        works = (Work(unit, (unit,), _steps(sweep.stages, last)) for unit in units)
        poison = engine.stream(works, _committing(output, on_unit), on_tick=on_tick)
        units = []
        for entry in poison:
            unit: Unit = entry.work.key
            if len(unit.sources) > 1:
                # One of them did it: each goes again, alone.
                units += [_unit((source,), tag) for source in unit.sources]
            else:
                _commit_poison(output, unit, entry, on_unit)


def settle_exact_duplicates(
    engine: Engine, output: Output, on_unit: OnUnit, on_tick: Callable[[], None]
) -> None:
    """Rejects every input whose bytes an earlier one has. Only files of equal size are read."""
    by_size: dict[int, list[Source]] = defaultdict(list)
    for source in output.sources:
        by_size[source.size_bytes].append(source)
    suspects = [s for same in by_size.values() if len(same) > 1 for s in same if s.size_bytes]
    unit_id = digest("exact-duplicates", *(source.source_id for source in suspects))
    if not suspects or output.manifest.is_committed(unit_id):
        return
    ids: dict[str, str] = {}

    def remember(work: Work, recording_id: str | None) -> None:
        if recording_id:
            ids[work.key] = recording_id

    works = (Work(s.source_id, (s,), (Step("cpu", "hash_source"),)) for s in suspects)
    engine.stream(works, remember, on_tick=on_tick)
    if len(ids) < len(suspects):
        # One could not be read now: the next run asks again, and its own sweep says why.
        unit_id = digest(unit_id, *sorted(ids))
    first: dict[str, Source] = {}
    items = []
    # The shortest name stays: copies are called `x (1).wav` or `x-copy.wav`.
    for source in sorted(suspects, key=lambda s: (len(s.uri), s.uri)):
        recording_id = ids.get(source.source_id)
        if recording_id is None:
            continue
        kept = first.setdefault(recording_id, source)
        if kept is not source:
            repeat = Duplicate(source.source_id, kept.source_id, 1.0)
            items.append(_repeated(source, recording_id, repeat, "exact_duplicate", None))
    _commit_items(output, unit_id, items, on_unit)


def settle_near_duplicates(output: Output, barrier: NamedStage, on_unit: OnUnit) -> None:
    """Rejects every recording that the barrier's stage links to one that is kept."""
    stage = barrier.stage
    if not isinstance(stage, DatasetStage):
        raise TypeError(f"{barrier.label} is no DatasetStage")
    rows = output.manifest.table("sketches").to_pylist()
    unit_id = digest("near-duplicates", stage.fingerprint(), *(r["source_id"] for r in rows))
    if output.manifest.is_committed(unit_id):
        return
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
    _commit_items(output, unit_id, items, on_unit)


def make_units(sources: Sequence[Source], tag: str, per_unit: int | None) -> list[Unit]:
    """Sources in units, largest first, so that no long one is left over for the end."""
    per_unit = per_unit or min(MAX_INPUTS_PER_UNIT, -(-len(sources) // UNITS_WORTH_SPLITTING))
    units: list[Unit] = []
    current: list[Source] = []
    for source in sorted(sources, key=lambda s: (-s.size_bytes, s.uri)):
        full = sum(s.size_bytes for s in current) + source.size_bytes > MAX_UNIT_BYTES
        if current and (full or len(current) >= per_unit):
            units.append(_unit(tuple(current), tag))
            current = []
        current.append(source)
    if current:
        units.append(_unit(tuple(current), tag))
    return units


def _unit(sources: tuple[Source, ...], tag: str) -> Unit:
    return Unit(digest("unit", tag, *(source.source_id for source in sources)), sources)


def _steps(stages: Iterable[NamedStage], last: bool) -> tuple[Step, ...]:
    first, *rest = stations_of(stages)
    if not rest:
        return (Step(first.kind, "run_unit", (first.labels, last)),)
    return (
        Step(first.kind, "begin", (first.labels,)),
        *(Step(station.kind, "go_on", (station.labels,)) for station in rest[:-1]),
        Step(rest[-1].kind, "end", (rest[-1].labels, last)),
    )


def _committing(output: Output, on_unit: OnUnit) -> Callable[[Work, UnitResult], None]:
    def on_done(_: Work, result: UnitResult) -> None:
        if output.manifest.commit(result.unit_id, result.files):
            on_unit(result)

    return on_done


def _repeated(
    source: Source, recording_id: str, repeat: Duplicate, reason: str, limit: float | None
) -> ItemState:
    item = ItemState(source, recording_id)
    item.drop = Drop(reason, measured=repeat.similarity, limit=limit)
    item.values["duplicate_of"] = repeat.duplicate_of
    item.values["duplicate_similarity"] = repeat.similarity
    return item


def _commit_poison(output: Output, unit: Unit, entry: Poison, on_unit: OnUnit) -> None:
    item = ItemState(unit.sources[0])
    message = (
        f"{item.source.uri} ended its worker {entry.work.attempts} times ({entry.cause}); "
        "look at the file, or exclude it with inputs.exclude"
    )
    item.failure = Failure("worker", entry.error_class, message)
    _commit_items(output, unit.unit_id, [item], on_unit)


def _commit_items(output: Output, unit_id: str, items: list[ItemState], on_unit: OnUnit) -> None:
    """Commits rows that the driver itself made. An empty unit is committed too: it was settled."""
    rows = rows_of(items)
    files = tuple(write_rows(output.out, unit_id, rows))
    if output.manifest.commit(unit_id, files) and items:
        outcomes = [row["outcome"] for row in rows["recordings"]]
        on_unit(
            UnitResult(
                unit_id=unit_id,
                files=files,
                clocks={},
                num_inputs=len(items),
                num_bytes=sum(item.source.size_bytes for item in items),
                num_by_outcome={name: outcomes.count(name) for name in set(outcomes)},
                num_segments=0,
                num_kept=0,
                decoded_s=0.0,
                ended_s=sum(row.get("decoded_s") or 0.0 for row in rows["recordings"]),
                kept_s=0.0,
            )
        )
