"""Which inputs are processed and committed together: fixed when the job begins, for all its life.

Every run and every driver composes the units anew, from all inputs as listed when the job began and
from the rule kept in `job.json`, never from what is left to do. So all of them name the same units,
and the unit's id is what keeps two of them from committing the same inputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.assemble import Job, Pass
from pipeline.manifest import Manifest
from schemas.ids import digest
from schemas.job import RunSpec
from schemas.source import Source

MAX_INPUTS_PER_UNIT = 64
UNITS_WORTH_SPLITTING = 256
"""Below so many inputs a unit is one input: commits are cheap and workers even out."""
MAX_UNIT_BYTES = 16 * 2**20
"""About half an hour of compressed speech: what a worker holds decoded at once."""
FINISHED = digest("finished")
"""Unit without rows of a job that has nothing left to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRule:
    """How large a unit gets; one larger input is a unit by itself."""

    max_inputs: int
    max_bytes: int

    @classmethod
    def of(cls, run: RunSpec, num_inputs: int) -> "UnitRule":
        """The rule of a job that begins now."""
        default = min(MAX_INPUTS_PER_UNIT, max(1, -(-num_inputs // UNITS_WORTH_SPLITTING)))
        return cls(max_inputs=run.inputs_per_unit or default, max_bytes=MAX_UNIT_BYTES)


@dataclass(frozen=True, slots=True)
class PlannedUnit:
    """Inputs that are committed together, under an id that names exactly this work."""

    unit_id: str
    sources: tuple[Source, ...]


def make_units(sources: Sequence[Source], tag: str, rule: UnitRule) -> list[PlannedUnit]:
    """Sources in units, largest first, so that no long one is left over for the end.

    `tag` names what is done to them. Any order of `sources` gives the same units.
    """
    units: list[PlannedUnit] = []
    current: list[Source] = []
    num_bytes = 0
    for source in sorted(sources, key=lambda s: (-s.size_bytes, s.uri)):
        full = num_bytes + source.size_bytes > rule.max_bytes or len(current) >= rule.max_inputs
        if current and full:
            units.append(_planned(tuple(current), tag))
            current, num_bytes = [], 0
        current.append(source)
        num_bytes += source.size_bytes
    if current:
        units.append(_planned(tuple(current), tag))
    return units


def open_units(
    manifest: Manifest, sources: Sequence[Source], rule: UnitRule, sweep: Pass
) -> list[PlannedUnit]:
    """Units of a sweep that are not committed yet, without inputs that ended before the sweep.

    Costs by commits: of the tables, only rows that were settled before the sweep are read, and
    only when something is left to do.
    """
    units = make_units(sources, _tag(sweep), rule)
    committed = manifest.units()
    missing = [unit for unit in units if unit.unit_id not in committed]
    if not missing:
        return []
    of_sweep = {unit.unit_id for unit in units}
    rows = manifest.table("recordings", ["source_id"], of_unit=lambda unit: unit not in of_sweep)
    ended = set(rows["source_id"].to_pylist())
    left = (
        PlannedUnit(unit.unit_id, tuple(s for s in unit.sources if s.source_id not in ended))
        for unit in missing
    )
    return [unit for unit in left if unit.sources]


def pending_sources(
    manifest: Manifest, sources: Sequence[Source], rule: UnitRule, job: Job
) -> list[Source]:
    """Inputs that have not come to their end, in no particular order."""
    return [s for unit in open_units(manifest, sources, rule, job.passes[-1]) for s in unit.sources]


def _planned(sources: tuple[Source, ...], tag: str) -> PlannedUnit:
    return PlannedUnit(digest("unit", tag, *(source.source_id for source in sources)), sources)


def _tag(sweep: Pass) -> str:
    return digest(*(f"{named.label}={named.stage.fingerprint()}" for named in sweep.stages))
