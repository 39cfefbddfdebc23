"""What a training run of the language model is. Parsed from YAML; strict and frozen."""

from typing import Literal

from pydantic import Field, model_validator

from schemas.job import SpecModel

SPEC_VERSION = 1


class LossSpec(SpecModel):
    """Weights of the losses; the defaults are those of the report's second stage."""

    text: float = Field(default=100.0, gt=0)
    channels: list[float] = Field(
        default=[12.0, 8.0, 6.0, 4.0, 2.0, 2.0, 1.0, 1.0], min_length=1, max_length=32
    )
    """One for each audio channel; all 0 is the report's first stage, text alone."""
    empty_target: float = Field(default=0.01, ge=0)
    """Of a text target `<|empty|>`, beside other text targets."""


class LearningRates(SpecModel):
    """One for each component; 0 freezes it."""

    patch_encoder: float = Field(default=2e-4, ge=0, lt=1)
    backbone: float = Field(default=3e-5, ge=0, lt=1)
    """Embeddings and projections go with it."""
    patch_decoder: float = Field(default=2e-4, ge=0, lt=1)


class OptimizerSpec(SpecModel):
    """AdamW, a schedule with warm-up, clipping."""

    learning_rates: LearningRates = LearningRates()
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup_ratio: float = Field(default=0.01, ge=0, le=1)
    """Share of all steps."""
    final_share: float = Field(default=0.1, ge=0, le=1)
    """Of the learning rates, where a cosine ends."""
    betas: tuple[float, float] = Field(default=(0.9, 0.95), strict=False)
    weight_decay: float = Field(default=0.1, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)


class ModelSource(SpecModel):
    """Where the weights come from: a folder, or random ones of a known size."""

    folder: str | None = None
    """A released folder, or one that this trainer wrote."""
    size: Literal["tiny", "small", "medium"] | None = None
    """Random weights of the seed: about 0.5, 1.5 and 100 million parameters, text as bytes."""
    config: str | None = None
    """A `config.json` of any size, for random weights; `text_tokenizer` must fit it."""
    text_tokenizer: str | None = None
    """Folder with a `tokenizer.json`; null: the model folder's, or bytes for a size."""

    @model_validator(mode="after")
    def _one_source(self) -> "ModelSource":
        if sum(part is not None for part in (self.folder, self.size, self.config)) != 1:
            raise ValueError("wanted one of folder, size and config")
        if self.config is not None and self.text_tokenizer is None:
            raise ValueError("config wants text_tokenizer as well: a folder with tokenizer.json")
        return self


class SourceSpec(SpecModel):
    """One folder of shards and what is made of its rows."""

    uri: str = Field(min_length=1)
    """Output folder of a job, or a copy of its `shards/`; local or any fsspec URL."""
    weight: float = Field(default=1.0, gt=0)
    """Share of the tokens, relative to the other sources."""
    version: int | None = Field(default=None, ge=0)
    """Of the output's manifest, for an output that has grown since; null: as it is now."""
    tasks: dict[str, float] = Field(min_length=1)
    """Task formats of `model.training.samples` to their shares of the rows."""


class DataSpec(SpecModel):
    """What is trained on."""

    sources: list[SourceSpec] = Field(min_length=1)
    context_groups: int = Field(default=8192, ge=16)
    """Positions of a packed sequence; one is a text token or a group of 4 frames."""
    sequences_per_step: int = Field(default=16, ge=1)
    """Global batch, over all processes."""
    window_groups: int = Field(default=16, ge=1, le=4096)
    """Row groups that are shuffled among each other."""


class TrainRunSpec(SpecModel):
    """How the run goes; it may change on resume and alters no batch."""

    device: Literal["cpu", "cuda"] = "cpu"
    sequences_per_pass: int = Field(default=1, ge=1)
    """Of one process, in one forward and backward pass; gradients are added up over the others."""
    activation_checkpointing: bool = False
    compile: bool = False
    shard: bool = True
    """FSDP2 where there are several processes."""
    steps_ahead: int = Field(default=2, ge=0, le=64)
    """Steps that are laid out ahead, in a thread; 0: in the training's own time."""
    log_every: int = Field(default=10, ge=1)
    checkpoint_every: int = Field(default=500, ge=1)
    keep_checkpoints: int = Field(default=2, ge=1)
    peak_tflops: float | None = Field(default=None, gt=0)
    """Of one device in the run's precision, for MFU; null: known for H100 and H200, else no MFU."""


class TrainSpec(SpecModel):
    """One training run of the language model."""

    version: int = Field(default=SPEC_VERSION, ge=1, le=SPEC_VERSION)
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    seed: int = Field(default=0, ge=0)
    output: str = Field(min_length=1)
    model: ModelSource
    data: DataSpec
    steps: int = Field(ge=1)
    loss: LossSpec = LossSpec()
    optimizer: OptimizerSpec = OptimizerSpec()
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: autocast over float32 weights; softmaxes and losses stay float32."""
    max_loss_ratio: float = Field(default=3.0, gt=1)
    """The run stops when its smoothed loss is this many times its best."""
    run: TrainRunSpec = TrainRunSpec()
