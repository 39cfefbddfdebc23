"""Spec to stages: picks engines, types their parameters, checks that the stages fit together."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from pipeline.code_fingerprint import code_of, pipeline_code, tokenizer_code
from pipeline.spec_file import explain
from schemas.errors import EngineMissingError, SpecError
from schemas.ids import digest
from schemas.job import JobSpec
from schemas.recordings import RECORDINGS
from schemas.segments import SEGMENTS
from schemas.sketches import SKETCHES
from stages.base import WORKING_VALUES, DatasetStage, RecordingStage, SegmentStage, Stage
from stages.registry import stage_class

GIVEN = frozenset({"path"})
"""What every recording has before the first stage."""
SPAN_WRITTEN = frozenset({"overlap_s", "duration_s"})
"""Segment columns that every segment has from its span, for stages to read."""


@dataclass(frozen=True)
class NamedStage:
    """A stage as the spec names it (`vad`, `filter@early`), ready to be sent to a worker."""

    label: str
    stage: Stage

    @property
    def engine_column(self) -> str:
        return f"{self.stage.name}_engine"


@dataclass(frozen=True)
class Pass:
    """Stages that run in one sweep over the inputs, up to the next stage that needs them all."""

    stages: tuple[NamedStage, ...]
    barrier: NamedStage | None = None
    """The `DatasetStage` that decides, after this sweep, who goes on."""


@dataclass(frozen=True)
class Job:
    """An assembled job: a spec whose stages are known to fit together."""

    spec: JobSpec
    stages: tuple[NamedStage, ...]
    passes: tuple[Pass, ...] = field(default=())

    def fingerprint(self) -> str:
        """Digest of all that decides rows: inputs, seed, stages and engines. Not of how it runs."""
        spec = self.spec
        return digest(
            spec.inputs.model_dump_json(),
            spec.seed,
            *(f"{named.label}={named.stage.fingerprint()}" for named in self.stages),
            spec.tokenize.model_dump_json() if spec.tokenize else "",
        )

    def stage_fingerprints(self) -> dict[str, str]:
        """Label to digest, so that a changed stage can be named."""
        return {named.label: named.stage.fingerprint() for named in self.stages}

    def code_fingerprints(self) -> dict[str, str]:
        """`pipeline`, `tokenizer` (if it is used), `stages.<label>` to a digest of their code."""
        stages = {f"stages.{named.label}": code_of(type(named.stage)) for named in self.stages}
        tokenizer = {"tokenizer": tokenizer_code()} if self.spec.tokenize else {}
        return {"pipeline": pipeline_code(), **tokenizer, **stages}


def assemble(spec: JobSpec) -> Job:
    """The job behind a spec; raises `SpecError` or `EngineMissingError` before anything starts."""
    stages = tuple(_build(label, raw) for label, raw in spec.stages.items())
    _check_order(stages)
    return Job(spec=spec, stages=stages, passes=_split(stages))


def _build(label: str, raw: Mapping[str, object]) -> NamedStage:
    name = label.partition("@")[0]
    parameters = dict(raw)
    engine = parameters.pop("engine", None)
    if engine is not None and not isinstance(engine, str):
        raise SpecError(f"stages.{label}.engine: wanted the name of an engine, found {engine!r}")
    cls = stage_class(name, engine)
    try:
        stage_spec = cls.Spec.model_validate(parameters)
    except ValidationError as error:
        raise SpecError(explain(error, cls.Spec, prefix=f"stages.{label}")) from error
    try:
        return NamedStage(label, cls(stage_spec))
    except (SpecError, EngineMissingError) as error:
        if f"stages.{label}" in str(error):
            raise
        raise type(error)(f"stages.{label}: {error}") from error


def _check_order(stages: tuple[NamedStage, ...]) -> None:
    """Every stage reads what an earlier one wrote; barriers stand before segments are cut."""
    written: dict[str, str] = dict.fromkeys(GIVEN, "the inputs")
    segment_columns = SEGMENTS.column_names
    known = WORKING_VALUES.keys() | RECORDINGS.column_names | segment_columns
    known |= SKETCHES.column_names
    for index, named in enumerate(stages):
        stage = named.stage
        unknown = (stage.reads | stage.writes) - known
        if unknown:
            raise SpecError(
                f"stages.{named.label}: engine {stage.engine!r} speaks of {sorted(unknown)}, which "
                "are no columns of a table and no working values; see schemas/ and stages/base.py"
            )
        missing = stage.reads - written.keys()
        if missing:
            raise SpecError(
                f"stages.{named.label}: reads {_listed(missing)}, which no stage before it writes"
                f"{_who_would(missing, stages[index + 1 :])}"
            )
        if isinstance(stage, SegmentStage) and "spans" not in written:
            raise SpecError(
                f"stages.{named.label}: looks at segments, but no stage before it cuts any; "
                "put 'segment' before it"
            )
        if isinstance(stage, DatasetStage) and "spans" in written:
            raise SpecError(
                f"stages.{named.label}: compares whole recordings, so it stands before 'segment', "
                "where it saves the dear stages from working twice"
            )
        if isinstance(stage, RecordingStage) and "spans" in written:
            raise SpecError(
                f"stages.{named.label}: looks at whole recordings, so it stands before "
                f"{written['spans']!r}, which cuts them into segments"
            )
        written |= dict.fromkeys(stage.writes, named.label)
        if "spans" in stage.writes:
            written |= dict.fromkeys(SPAN_WRITTEN, named.label)
    if "audio" not in written:
        raise SpecError("stages: no stage writes 'audio'; begin with 'decode' and 'normalize'")


def _split(stages: tuple[NamedStage, ...]) -> tuple[Pass, ...]:
    passes: list[Pass] = []
    current: list[NamedStage] = []
    for named in stages:
        if isinstance(named.stage, DatasetStage):
            passes.append(Pass(tuple(current), barrier=named))
            # The next sweep starts from the file again, with the same stages and so the same
            # values, but for those whose values are kept between the sweeps (table `sketches`).
            current = [n for n in current if n.stage.writes - SKETCHES.column_names]
        else:
            current.append(named)
    passes.append(Pass(tuple(current)))
    return tuple(passes)


def _listed(names: frozenset[str] | set[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names))


def _who_would(missing: frozenset[str] | set[str], after: tuple[NamedStage, ...]) -> str:
    later = [n.label for n in after if n.stage.writes & missing]
    if later:
        return f"; {later[0]!r} does, move it up"
    return "; stages/README.md says which stage writes what"
