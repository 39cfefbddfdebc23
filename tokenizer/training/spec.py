"""What a training run is: data, network, two stages. Parsed from YAML; strict and frozen."""

from typing import Any, Literal

from pydantic import Field, model_validator

from schemas.errors import TokenizerError
from schemas.job import SpecModel
from tokenizer.training.augment import AugmentSpec

SPEC_VERSION = 1


class DataSpec(SpecModel):
    """Which audio, and what a training clip is."""

    uri: str = Field(min_length=1)
    """Folder of audio files; `NAME.txt` beside `NAME.wav` is its transcript."""
    exclude: list[str] = Field(default_factory=list)
    """Patterns under the folder that are left alone."""
    repeat: dict[str, int] = Field(default_factory=dict)
    """How often an epoch has the clips whose path under the folder matches a pattern; else once."""
    backgrounds: str | None = None
    """Folder of noise and music that augmentation mixes in."""
    min_clip_s: float = Field(default=0.6, ge=0.2)
    """Shorter files are dropped."""
    max_clip_s: float = Field(default=3.0, ge=0.4, le=30)
    """Longer files are cropped at random places, without their transcript."""
    silence_dbfs: float = Field(default=-60.0, ge=-100, le=0)
    """A file whose RMS is below this is dropped as silent."""
    held_out: int = Field(default=8, ge=1)
    """Files that are never trained on: evenly spread over the list."""
    augment: dict[str, Any] | None = None
    """Settings of `tokenizer.training.augment.AugmentSpec`; null: audio as it is."""


class CodebookSpec(SpecModel):
    """How codebooks live. Below what use an entry is replaced says `threshold_ema_dead_code` in the
    model: a moving count per step, over all processes."""

    decay: float = Field(default=0.99, gt=0, lt=1)
    frames_per_entry: float = Field(default=20.0, ge=2)
    """k-means starts on this many frames for each entry of the largest codebook."""
    dims: tuple[int, ...] = Field(default=(), strict=False)
    """Not in the report: how many directions the first codebooks are confined to."""


class TextSpec(SpecModel):
    """The small causal language model that reads the quantised frames."""

    width: int = Field(default=256, ge=16)
    num_layers: int = Field(default=4, ge=1)
    num_heads: int = Field(default=4, ge=1)

    @model_validator(mode="after")
    def _whole_heads(self) -> "TextSpec":
        if self.width % self.num_heads:
            raise ValueError(f"width is {self.width}, wanted a multiple of {self.num_heads} heads")
        return self


class OptimizerSpec(SpecModel):
    """AdamW with a linear warm-up and a cosine to a tenth of the learning rate."""

    learning_rate: float = Field(gt=0, lt=1)
    warmup_steps: int = Field(default=200, ge=0)
    betas: tuple[float, float] = Field(default=(0.9, 0.98), strict=False)
    weight_decay: float = Field(default=0.01, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)


class DiscriminatorOptimizerSpec(OptimizerSpec):
    """The same without weight decay, as the report has it."""

    weight_decay: float = Field(default=0.0, ge=0)


class StageOneWeights(SpecModel):
    """Of the losses of stage 1; the defaults are the report's."""

    reconstruction: float = Field(default=1.0, ge=0)
    commitment: float = Field(default=1.0, ge=0)
    audio_to_text: float = Field(default=10.0, ge=0)
    clip_information: float = Field(default=0.0, ge=0)
    """Not in the report: of `clip_information` over what the confined codebooks see."""


class StageTwoWeights(SpecModel):
    """Of the losses of stage 2; the defaults are the report's."""

    reconstruction: float = Field(default=1.0, ge=0)
    adversarial: float = Field(default=1.0, ge=0)
    feature_matching: float = Field(default=2.0, ge=0)


class StageOneSpec(SpecModel):
    """Everything is trained together, on mel distance, commitment and text."""

    steps: int = Field(ge=1)
    optimizer: OptimizerSpec
    weights: StageOneWeights = StageOneWeights()
    codebooks: CodebookSpec = CodebookSpec()
    text: TextSpec = TextSpec()


class DiscriminatorSpec(SpecModel):
    """Sizes of the networks that tell reconstructed from real."""

    periods: tuple[int, ...] = Field(default=(2, 3, 5, 7, 11), strict=False, min_length=1)
    fft_sizes: tuple[int, ...] = Field(default=(2048, 1024, 512), strict=False, min_length=1)
    channels: int = Field(default=32, ge=2)

    @model_validator(mode="after")
    def _usable(self) -> "DiscriminatorSpec":
        if min(self.periods) < 1:
            raise ValueError(f"periods are {self.periods}, wanted 1 or more each")
        if any(size < 16 or size % 4 for size in self.fft_sizes):
            raise ValueError(f"fft_sizes are {self.fft_sizes}, wanted multiples of 4 from 16")
        return self


class StageTwoSpec(SpecModel):
    """Decoder and vocoder are trained against discriminators; encoder and codebooks rest."""

    steps: int = Field(ge=0)
    optimizer: OptimizerSpec
    discriminator_optimizer: DiscriminatorOptimizerSpec
    weights: StageTwoWeights = StageTwoWeights()
    discriminators: DiscriminatorSpec = DiscriminatorSpec()
    judged_s: float = Field(default=1.0, gt=0.2)
    """The discriminators hear a random stretch of each clip, of this length."""


class TrainRunSpec(SpecModel):
    """How the run goes. It may change on resume; only `device` alters weights, in the last bits."""

    device: Literal["cpu", "cuda"] = "cpu"
    loader_workers: int = Field(default=1, ge=0, le=64)
    log_every: int = Field(default=20, ge=1)
    checkpoint_every: int = Field(default=250, ge=1)
    keep_checkpoints: int = Field(default=2, ge=1)
    sample_every: int = Field(default=1000, ge=1)


class TrainSpec(SpecModel):
    """One training run of a tokenizer."""

    version: int = Field(default=SPEC_VERSION, ge=1, le=SPEC_VERSION)
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    seed: int = Field(default=0, ge=0)
    model: dict[str, Any]
    """The network, in the words of the released `config.json`."""
    start_from: str | None = None
    """Folder of a trained tokenizer of this network whose weights the run starts from; its
    codebooks are drawn anew by k-means. Null: weights drawn from `seed`."""
    data: DataSpec
    output: str = Field(min_length=1)
    clips_per_step: int = Field(default=12, ge=1)
    """Over all processes together."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: autocast; losses, codebooks and inverse STFT stay float32."""
    mel_scales: tuple[int, ...] = Field(default=(5, 6, 7), strict=False, min_length=1)
    """Of the reconstruction loss: 2^i bands, a window of 15 * 2^(i-1) and a hop of 15 * 2^(i-2)."""
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    """Of the moving average of the weights, which is what is saved in the end."""
    max_loss_ratio: float = Field(default=3.0, gt=1)
    """The run stops when its smoothed reconstruction loss is this many times its best."""
    stage1: StageOneSpec
    stage2: StageTwoSpec
    run: TrainRunSpec = TrainRunSpec()

    @model_validator(mode="after")
    def _confined_codebooks(self) -> "TrainSpec":
        one, width = self.stage1, self.model.get("d_model")
        dims, sizes = one.codebooks.dims, self.model.get("codebook_size")
        if isinstance(sizes, list) and len(dims) > len(sizes):
            raise ValueError(f"stage1.codebooks.dims has {len(dims)} for {len(sizes)} codebooks")
        if isinstance(width, int) and isinstance(sizes, list):
            for number, size in zip(dims, sizes, strict=False):
                most = min(width, size - 1)  # so many entries span no more
                if not 1 <= number <= most:
                    raise ValueError(
                        f"stage1.codebooks.dims has {number} for a codebook of {size} entries in "
                        f"{width} dimensions, wanted 1 to {most}"
                    )
        if one.weights.clip_information and not dims:
            raise ValueError(
                "stage1.weights.clip_information is of confined codebooks; set "
                "stage1.codebooks.dims, e.g. [3, 3], or leave it at 0"
            )
        return self

    @model_validator(mode="after")
    def _clip_lengths(self) -> "TrainSpec":
        if self.data.min_clip_s > self.data.max_clip_s:
            raise ValueError(
                f"data.min_clip_s is {self.data.min_clip_s}, above data.max_clip_s "
                f"{self.data.max_clip_s}"
            )
        if self.data.augment is not None:
            try:
                AugmentSpec(**self.data.augment)
            except (TypeError, TokenizerError) as error:
                raise ValueError(f"data.augment: {error}") from error
        for pattern, times in self.data.repeat.items():
            if not 1 <= times <= 100:
                raise ValueError(f"data.repeat of {pattern!r} is {times}, wanted 1 to 100")
        return self
