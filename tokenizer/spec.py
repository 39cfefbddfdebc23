"""What a checkpoint is: the numbers of its `config.json`, read once and checked.

The file keeps the field names of the published tokenizer, so that a released folder opens as it is.
In here they carry units and belong to the part they describe.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from schemas.errors import TokenizerError
from tokenizer.config_file import integer, read_config, require

MODEL_TYPE = "mimo_audio_tokenizer"
_require = partial(require, TokenizerError)
_integer = partial(integer, TokenizerError)

# Read by nothing in the published model (the flag `scale_embedding` included), or bookkeeping of
# the library that wrote the file. Accepted and dropped; every other unknown key is an error.
_WITHOUT_EFFECT = frozenset(
    {
        "_name_or_path",
        "architectures",
        "auto_map",
        "dtype",
        "max_audio_seconds",
        "model_type",
        "position_embedding_type",
        "scale_embedding",
        "torch_dtype",
        "transformers_version",
    }
)
_REQUIRED = (
    "sampling_rate",
    "nfft",
    "window_size",
    "hop_length",
    "n_mels",
    "fmin",
    "fmax",
    "kernel_size",
    "stride_size",
    "avg_pooler",
    "d_model",
    "encoder_layers",
    "encoder_skip_layer_id",
    "encoder_attention_heads",
    "encoder_ffn_dim",
    "encoder_causal",
    "encoder_attn_window_size",
    "decoder_layers",
    "decoder_attention_heads",
    "decoder_ffn_dim",
    "decoder_causal",
    "decoder_attn_window_size",
    "decoder_kernel_size",
    "decoder_stride_size",
    "vocoder_dim",
    "vocoder_num_layers",
    "vocoder_attention_heads",
    "vocoder_intermediate_dim",
    "vocoder_attn_window_size",
    "vocoder_padding",
    "num_quantizers",
    "codebook_size",
    "threshold_ema_dead_code",
    "activation_function",
    "ln_type",
    "rope_theta",
    "rope_type",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class StackSpec:
    """One stack of transformer layers."""

    width: int
    num_layers: int
    num_heads: int
    ffn_width: int
    window: tuple[int, int]
    """Positions seen to the left and to the right, both inclusive; -1 is unlimited."""

    @property
    def head_width(self) -> int:
        return self.width // self.num_heads


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerSpec:
    """Shape and arithmetic of one tokenizer; bad values are refused when it is made."""

    sample_rate_hz: int
    fft_samples: int
    window_samples: int
    hop_samples: int
    num_mels: int
    min_hz: float
    max_hz: float
    stem_stride: int
    pool: int
    encoder: StackSpec
    skip_layer: int | None
    """Output of this layer, counted from 1, is added to the last one's before the final norm."""
    codebook_sizes: tuple[int, ...]
    dead_code_threshold: float
    decoder: StackSpec
    upsample_kernel: int
    vocoder: StackSpec
    vocoder_padding: str
    norm: str
    rope_theta: float

    def __post_init__(self) -> None:
        for name in ("sample_rate_hz", "window_samples", "hop_samples", "num_mels", "stem_stride"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "a positive integer")
        _require(
            self.fft_samples >= self.window_samples and self.fft_samples % 2 == 0,
            "nfft",
            self.fft_samples,
            f"an even number of at least window_size ({self.window_samples})",
        )
        _require(
            self.hop_samples <= self.fft_samples and (self.fft_samples - self.hop_samples) % 2 == 0,
            "hop_length",
            self.hop_samples,
            f"at most nfft ({self.fft_samples}) and an even distance below it",
        )
        _require(
            0 <= self.min_hz < self.max_hz <= self.sample_rate_hz / 2,
            "fmin, fmax",
            (self.min_hz, self.max_hz),
            f"0 <= fmin < fmax <= {self.sample_rate_hz / 2:g} Hz",
        )
        _require(self.pool >= 2, "avg_pooler", self.pool, "2 or more")
        _require(
            self.sample_rate_hz % self.samples_per_frame == 0,
            "sampling_rate",
            self.sample_rate_hz,
            f"a multiple of the {self.samples_per_frame} samples of a frame",
        )
        for part, stack in self.stacks.items():
            _check_stack(part, stack)
        _require(
            self.encoder.width == self.decoder.width,
            "d_model",
            self.decoder.width,
            f"the encoder's width {self.encoder.width}",
        )
        if self.skip_layer is not None:
            _require(
                1 <= self.skip_layer <= self.encoder.num_layers,
                "encoder_skip_layer_id",
                self.skip_layer,
                f"null or 1..{self.encoder.num_layers}",
            )
        _require(len(self.codebook_sizes) >= 1, "num_quantizers", 0, "1 or more")
        for size in self.codebook_sizes:
            _require(2 <= size <= 65_536, "codebook_size", size, "2..65536, so that it fits uint16")
        _require(
            self.upsample_kernel >= self.stem_stride,
            "decoder_kernel_size",
            self.upsample_kernel,
            f"at least the stride {self.stem_stride}",
        )
        _require(
            self.vocoder_padding in ("same", "center"),
            "vocoder_padding",
            self.vocoder_padding,
            "'same' or 'center'",
        )
        _require(
            self.norm in ("LayerNorm", "RMSNorm"), "ln_type", self.norm, "'LayerNorm' or 'RMSNorm'"
        )
        _require(self.rope_theta > 0, "rope_theta", self.rope_theta, "a positive number")

    @property
    def stacks(self) -> dict[str, StackSpec]:
        return {"encoder": self.encoder, "decoder": self.decoder, "vocoder": self.vocoder}

    @property
    def samples_per_frame(self) -> int:
        return self.hop_samples * self.stem_stride * self.pool

    @property
    def frame_rate_hz(self) -> int:
        return self.sample_rate_hz // self.samples_per_frame

    @property
    def hops_per_frame(self) -> int:
        return self.stem_stride * self.pool

    @property
    def num_codebooks(self) -> int:
        return len(self.codebook_sizes)

    @property
    def width(self) -> int:
        return self.encoder.width

    @property
    def min_samples(self) -> int:
        """Shortest waveform that is encoded: a frame, or what the mel's reflect padding needs."""
        return max(self.samples_per_frame, self.fft_samples // 2 + 1)

    def num_hops(self, num_samples: int) -> int:
        return 1 + num_samples // self.hop_samples

    def num_stem_rows(self, num_hops: int) -> int:
        return -(-num_hops // self.stem_stride)

    def num_frames(self, num_hops: int) -> int:
        return -(-self.num_stem_rows(num_hops) // self.pool)

    @classmethod
    def read(cls, path: Path) -> "TokenizerSpec":
        """The spec in a `config.json`."""
        return cls.from_config(read_tokenizer_config(path), where=str(path))

    @classmethod
    def from_config(cls, config: Mapping[str, Any], where: str = "config") -> "TokenizerSpec":
        """The spec that a published configuration describes; no missing key is guessed."""
        missing = [key for key in _REQUIRED if key not in config]
        if missing:
            raise TokenizerError(f"{where}: missing {', '.join(missing)}")
        unknown = sorted(set(config) - set(_REQUIRED) - _WITHOUT_EFFECT - {"audiomill"})
        if unknown:
            raise TokenizerError(
                f"{where}: unknown key {unknown[0]!r}; a tokenizer config has "
                f"{', '.join(sorted(_REQUIRED))}"
            )
        try:
            return cls._from_checked_keys(config)
        except TokenizerError as error:
            raise TokenizerError(f"{where}: {error}") from None
        except (TypeError, ValueError) as error:
            raise TokenizerError(f"{where}: a value has the wrong type: {error}") from None

    @classmethod
    def _from_checked_keys(cls, config: Mapping[str, Any]) -> "TokenizerSpec":
        _require(
            config.get("model_type", MODEL_TYPE) == MODEL_TYPE,
            "model_type",
            config.get("model_type"),
            repr(MODEL_TYPE),
        )
        _require(
            config["activation_function"] == "gelu",
            "activation_function",
            config["activation_function"],
            "'gelu'",
        )
        _require(config["rope_type"] == "default", "rope_type", config["rope_type"], "'default'")
        _require(config["kernel_size"] == 3, "kernel_size", config["kernel_size"], "3")
        _require(
            config["decoder_stride_size"] == config["stride_size"],
            "decoder_stride_size",
            config["decoder_stride_size"],
            f"stride_size ({config['stride_size']}): a frame would not decode to its own length",
        )
        sample_rate_hz = _integer(config, "sampling_rate")
        max_hz = config["fmax"]
        width = _integer(config, "d_model")
        skip = config["encoder_skip_layer_id"]
        return cls(
            sample_rate_hz=sample_rate_hz,
            fft_samples=_integer(config, "nfft"),
            window_samples=_integer(config, "window_size"),
            hop_samples=_integer(config, "hop_length"),
            num_mels=_integer(config, "n_mels"),
            min_hz=float(config["fmin"]),
            max_hz=sample_rate_hz / 2 if max_hz is None else float(max_hz),
            stem_stride=_integer(config, "stride_size"),
            pool=_integer(config, "avg_pooler"),
            encoder=StackSpec(
                width=width,
                num_layers=_integer(config, "encoder_layers"),
                num_heads=_integer(config, "encoder_attention_heads"),
                ffn_width=_integer(config, "encoder_ffn_dim"),
                window=_window(config, "encoder"),
            ),
            skip_layer=None if skip is None else _integer(config, "encoder_skip_layer_id"),
            codebook_sizes=_codebook_sizes(config),
            dead_code_threshold=float(config["threshold_ema_dead_code"]),
            decoder=StackSpec(
                width=width,
                num_layers=_integer(config, "decoder_layers"),
                num_heads=_integer(config, "decoder_attention_heads"),
                ffn_width=_integer(config, "decoder_ffn_dim"),
                window=_window(config, "decoder"),
            ),
            upsample_kernel=_integer(config, "decoder_kernel_size"),
            vocoder=StackSpec(
                width=_integer(config, "vocoder_dim"),
                num_layers=_integer(config, "vocoder_num_layers"),
                num_heads=_integer(config, "vocoder_attention_heads"),
                ffn_width=_integer(config, "vocoder_intermediate_dim"),
                window=_window(config, "vocoder"),
            ),
            vocoder_padding=config["vocoder_padding"],
            norm=config["ln_type"],
            rope_theta=float(config["rope_theta"]),
        )

    def to_config(self) -> dict[str, Any]:
        """The published form, from which `from_config` makes an equal spec."""
        return {
            "architectures": ["MiMoAudioTokenizer"],
            "model_type": MODEL_TYPE,
            "sampling_rate": self.sample_rate_hz,
            "nfft": self.fft_samples,
            "window_size": self.window_samples,
            "hop_length": self.hop_samples,
            "n_mels": self.num_mels,
            "fmin": self.min_hz,
            "fmax": None if self.max_hz == self.sample_rate_hz / 2 else self.max_hz,
            "kernel_size": 3,
            "stride_size": self.stem_stride,
            "avg_pooler": self.pool,
            "d_model": self.width,
            "encoder_layers": self.encoder.num_layers,
            "encoder_skip_layer_id": self.skip_layer,
            "encoder_attention_heads": self.encoder.num_heads,
            "encoder_ffn_dim": self.encoder.ffn_width,
            "encoder_causal": False,
            "encoder_attn_window_size": list(self.encoder.window),
            "num_quantizers": self.num_codebooks,
            "codebook_size": list(self.codebook_sizes),
            "threshold_ema_dead_code": self.dead_code_threshold,
            "decoder_layers": self.decoder.num_layers,
            "decoder_attention_heads": self.decoder.num_heads,
            "decoder_ffn_dim": self.decoder.ffn_width,
            "decoder_causal": self.decoder.window[1] == 0,
            "decoder_attn_window_size": list(self.decoder.window),
            "decoder_kernel_size": self.upsample_kernel,
            "decoder_stride_size": self.stem_stride,
            "vocoder_dim": self.vocoder.width,
            "vocoder_num_layers": self.vocoder.num_layers,
            "vocoder_attention_heads": self.vocoder.num_heads,
            "vocoder_intermediate_dim": self.vocoder.ffn_width,
            "vocoder_attn_window_size": list(self.vocoder.window),
            "vocoder_padding": self.vocoder_padding,
            "activation_function": "gelu",
            "ln_type": self.norm,
            "rope_theta": self.rope_theta,
            "rope_type": "default",
        }


def read_tokenizer_config(path: Path) -> dict[str, Any]:
    """The mapping in a `config.json`, unread values and all."""
    return read_config(TokenizerError, "a tokenizer folder", path)


def _window(config: Mapping[str, Any], part: str) -> tuple[int, int]:
    key = f"{part}_attn_window_size"
    value = config[key]
    _require(
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(side, int) and side >= -1 for side in value),
        key,
        value,
        "[left, right] with -1 for unlimited",
    )
    left, right = value
    return (left, 0) if config.get(f"{part}_causal", False) else (left, right)


def _codebook_sizes(config: Mapping[str, Any]) -> tuple[int, ...]:
    count = _integer(config, "num_quantizers")
    sizes = config["codebook_size"]
    sizes = [sizes] if isinstance(sizes, int) else sizes
    _require(
        isinstance(sizes, list) and all(type(size) is int for size in sizes),
        "codebook_size",
        sizes,
        "an integer or a list of integers",
    )
    _require(1 <= len(sizes) <= count, "codebook_size", sizes, f"1 to {count} entries")
    # A short list goes on with its last entry, as in the published model.
    return (*sizes, *[sizes[-1]] * (count - len(sizes)))


def _check_stack(part: str, stack: StackSpec) -> None:
    for name in ("width", "num_heads", "ffn_width"):
        value = getattr(stack, name)
        _require(value >= 1, f"{part} {name}", value, "a positive integer")
    _require(stack.num_layers >= 0, f"{part} num_layers", stack.num_layers, "0 or more")
    _require(
        stack.width % stack.num_heads == 0 and stack.head_width % 2 == 0,
        f"{part} num_heads",
        stack.num_heads,
        f"a divisor of the width {stack.width} that leaves heads of even width",
    )
