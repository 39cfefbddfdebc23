"""What a stage is: a small class with a typed spec, declared inputs and outputs, one decision.

Life cycle: constructed on the driver (cheap; raises `EngineMissingError` when a package or a model
is missing), sent to a worker, `open()` once there (weights, heavy imports), `process()` for every
item, `close()`. Any item may be processed twice, and must give the same values again.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from schemas.codes import Waveform
from schemas.ids import digest
from schemas.verdict import Verdict
from stages.audio import Audio

WORKING_VALUES = {
    "path": "local file that holds the input's bytes",
    "audio": "the decoded waveform (stages.audio.Audio)",
    "speech": "spans of speech (list of schemas.spans.Span), in order, not overlapping",
    "turns": "speaker turns (list of schemas.spans.Turn), in order of start",
    "spans": "candidate segments (list of schemas.spans.SegmentSpan), in order of start",
}
"""Values that pass between stages and are no columns of a table."""


class StageSpec(BaseModel):
    """Parameters of one stage. Frozen; an unknown key or a value of another type is an error.

    Numbers carry their unit in the name and a range, so that a value in another unit is refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class Resources:
    """What one worker with this stage needs. Stages with equal `kind` share a station."""

    num_cpus: float = 1.0
    num_gpus: float = 0.0
    memory_mb: int = 200
    """Peak while it processes an item, weights included."""

    @property
    def kind(self) -> Literal["cpu", "gpu"]:
        return "gpu" if self.num_gpus else "cpu"


@dataclass(frozen=True, slots=True)
class Recording:
    """One input on its way: the values that earlier stages wrote, columns and working values."""

    source_id: str
    recording_id: str
    uri: str
    values: Mapping[str, Any]

    @property
    def audio(self) -> Audio:
        audio: Audio = self.values["audio"]
        return audio


@dataclass(frozen=True, slots=True)
class Segment:
    """One candidate span on its way, with its own columns and the recording it is part of."""

    segment_id: str
    start_sample: int
    end_sample: int
    speaker: str
    values: Mapping[str, Any]
    recording: Recording

    @property
    def sample_rate_hz(self) -> int:
        return self.recording.audio.sample_rate_hz

    @property
    def duration_s(self) -> float:
        return (self.end_sample - self.start_sample) / self.sample_rate_hz

    def waveform(self, rate_hz: int | None = None) -> Waveform:
        """Its samples at `rate_hz` (or the timeline's rate), shape `[num_samples]`, read-only."""
        return self.recording.audio.cut(self.start_sample, self.end_sample, rate_hz)


class Stage(ABC):
    """Common part of all stages. `reads` and `writes` name columns and working values.

    Every name of `writes` must be in the verdict's values of a kept item, and nothing else may be.
    The column `<name>_engine` is filled from `describe()` by the runner and is not declared.
    """

    name: ClassVar[str]
    engine: ClassVar[str]
    Spec: ClassVar[type[StageSpec]]
    reads: ClassVar[frozenset[str]]
    writes: ClassVar[frozenset[str]]
    speed_x_real_time: ClassVar[float]
    """Audio seconds per second on one core (or one GPU), measured; for plans and estimates."""

    def __init__(self, spec: Any) -> None:
        self.spec = spec

    @abstractmethod
    def describe(self) -> str:
        """Engine, version and model, e.g. `silero-vad 6.2.3 4f1c`. Cheap, known before `open()`."""

    def fingerprint(self) -> str:
        """Digest of all that decides this stage's values: engine, version, model, parameters."""
        return digest(self.name, self.engine, self.describe(), self.spec.model_dump_json())

    def resources(self) -> Resources:
        return Resources()

    def open(self) -> None:  # noqa: B027  (most stages have nothing to load)
        """Load what `process` needs; called once per worker."""

    def cpu_s_elsewhere(self) -> float:
        """CPU seconds so far of processes that work for this stage; they are its compute too."""
        return 0.0

    def close(self) -> None:  # noqa: B027
        """Let go of what `open` loaded."""


class RecordingStage(Stage):
    """A stage that looks at a whole recording."""

    @abstractmethod
    def process(self, recording: Recording) -> Verdict:
        """Keep with values, or Drop; raises `ItemError` where neither can be said."""


class SegmentStage(Stage):
    """A stage that looks at segments, in batches that the runner forms."""

    batch_by: ClassVar[Literal["padded_seconds", "recording"]] = "padded_seconds"
    """`padded_seconds`: any segments, items x longest <= `max_batch_s`. `recording`: all segments
    of one recording that are still alive, in order of start, for stages that need neighbours."""
    max_batch_s: ClassVar[float] = 240.0

    @abstractmethod
    def process(self, batch: Sequence[Segment]) -> list[Verdict]:
        """One verdict per segment, in order. A batch that raises is split until the culprit is
        alone; that one fails, the others are processed again."""


class DatasetStage(Stage):
    """A stage that looks at all recordings together, once all of them are measured."""

    @abstractmethod
    def link(self, recordings: Sequence[Mapping[str, Any]]) -> list["Duplicate"]:
        """Which recordings repeat which, from rows with `source_id`, `uri` and what it `reads`."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """`source_id` repeats `duplicate_of`, which is kept. `similarity` is 0 to 1."""

    source_id: str
    duplicate_of: str
    similarity: float
