"""What a job spec holds. Stage parameters are typed by the stages themselves (`stages/`)."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

SPEC_VERSION = 1

_EXTENSIONS = (
    *("wav", "wave", "w64", "flac", "mp3", "ogg", "oga", "opus", "m4a", "m4b", "aac", "mp4"),
    *("mov", "webm", "mkv", "mka", "wma", "asf", "amr", "au", "snd", "aif", "aiff", "aifc"),
    *("caf", "ac3", "sph"),
)
AUDIO_PATTERNS = tuple(f"**/*.{extension}" for extension in _EXTENSIONS)
"""Files taken as inputs when the spec names none; matched without regard to case."""


class SpecModel(BaseModel):
    """Frozen and strict: an unknown key or a value of another type is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class InputsSpec(SpecModel):
    """Which files are the inputs."""

    uri: str = Field(min_length=1)
    """A folder, a file or a glob, local or on any fsspec store; relative to the current folder."""
    include: list[str] = list(AUDIO_PATTERNS)
    """Patterns under a folder; what matches none of them is counted and left alone."""
    exclude: list[str] = []
    """Patterns under a folder that are left alone although they match `include`."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many inputs, the first by name; for a try."""
    follow_links: bool = False
    """Read what links lead to outside of `uri` too; else such an input fails with FORBIDDEN_URI."""


class RunSpec(SpecModel):
    """How the job runs. Nothing in here changes a row."""

    workers: int | None = Field(default=None, ge=1)
    """At most so many CPU actors; null: as many as the cluster's CPUs carry."""
    inputs_per_unit: int | None = Field(default=None, ge=1, le=10_000)
    """Inputs committed together; null: 1 for small jobs, up to 64 for large ones."""
    max_failed_fraction: float = Field(default=0.1, ge=0, le=1)
    """More failed inputs than this share of all make the run end with exit code 3."""
    max_attempts: int = Field(default=2, ge=1, le=10)
    """How often an input may kill its worker before it is failed with CRASH."""
    item_timeout_s: float = Field(default=14_400.0, ge=1, le=604_800)
    """How long one unit may stay in one actor before it is killed and counted as an attempt."""
    stage_timeout_s: float = Field(default=7_200.0, ge=1, le=604_800)
    """How long one call of a stage, on one input or one batch, may take before its worker ends
    itself, counted as an attempt."""
    worker_max_rss_mb: int | None = Field(default=None, ge=100)
    """A worker that has more memory of its own after a unit is replaced; null: more than its pool
    was given and twice what it had after its first unit."""
    worker_max_units: int | None = Field(default=None, ge=1)
    """A worker is replaced after so many units; null: only when its memory grows."""
    breaker_inputs: int | None = Field(default=20, ge=2, le=10_000)
    """When nine in ten of so many inputs in a row fail in one way that is our fault, the job stops
    and none of them is marked as failed; null: never."""


class CostSpec(SpecModel):
    """Prices for the cost estimate."""

    cpu_core_hour: float = Field(default=0.04, ge=0)
    gpu_hour: float = Field(default=2.5, ge=0)
    currency: str = Field(default="USD", min_length=1, max_length=8)


class TokenizeSpec(SpecModel):
    """How kept segments become shards."""

    engine: str = "small"
    """`small`: the trained tokenizer that comes with audiomill; `mimo`: a released folder."""
    model: str | None = None
    """Folder with config.json and model.safetensors, for `mimo`."""
    device: str = Field(default="cpu", pattern="^(cpu|cuda)$")
    num_codebooks: int = Field(default=8, ge=1, le=32)
    segment_hops: int = Field(default=6000, ge=100, le=360_000)
    """Longer audio is cut here, in hops of 10 ms: 6000 as released, 3000 in other tools. Recorded
    in the shards, like the next."""
    reference_padding: bool = False
    """Encode the segments of a long clip as one padded batch, as the published tool does."""
    batch_frames: int = Field(default=7500, ge=25, le=1_000_000)
    """Codec frames packed into one batch (25 a second)."""
    rows_per_shard: int = Field(default=4096, ge=1, le=1_000_000)
    """Segments per shard file."""
    rows_per_group: int = Field(default=1024, ge=1, le=100_000)
    """Segments per Parquet row group."""


class JobSpec(SpecModel):
    """A job spec: inputs to manifests and shards. Stages run in the order in which they stand."""

    version: int = Field(default=SPEC_VERSION, ge=1)
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """Names the job in reports."""
    inputs: InputsSpec
    references: str | None = None
    """Folder with ground truth (see pipeline/references.py); null: none; scores are printed."""
    output: str = Field(min_length=1)
    """Folder for everything the job writes; relative to the current folder."""
    seed: int = Field(default=0, ge=0)
    stages: dict[str, dict[str, Any]]
    """Stage name (or name@label) to its parameters; `engine` picks the engine."""
    tokenize: TokenizeSpec | None = None
    """Null: no shards."""
    run: RunSpec = RunSpec()
    cost: CostSpec = CostSpec()

    @field_validator("stages", mode="before")
    @classmethod
    def _empty_stage_means_defaults(cls, stages: Any) -> Any:
        """`vad:` with nothing behind it is a stage with its default parameters."""
        if isinstance(stages, dict):
            return {name: {} if spec is None else spec for name, spec in stages.items()}
        return stages

    @field_validator("stages")
    @classmethod
    def _at_least_one(cls, stages: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        if not stages:
            raise ValueError("a job needs at least one stage, the first of them 'decode'")
        return stages
