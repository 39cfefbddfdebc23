"""What a language-model checkpoint is: the numbers of its `config.json`, read once and checked.

The file keeps the field names of the published model, so that a released folder opens as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from model.config_keys import MODEL_TYPE, read_keys
from schemas.errors import ModelError
from tokenizer.config_file import integer, read_config, require

_require = partial(require, ModelError)
_integer = partial(integer, ModelError)


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformerSpec:
    """One stack of transformer layers."""

    width: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_width: int
    ffn_width: int
    causal: bool
    dropout: float
    """Of attention weights, in training only."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """Shape and arithmetic of one language model; bad values are refused when it is made."""

    vocab_size: int
    context_groups: int
    """Positions of the backbone; each is a group of `group_size` frames."""
    group_size: int
    channel_sizes: tuple[int, ...]
    """Ids of each audio channel: the codebook's and the empty one."""
    empty_codes: tuple[int, ...]
    """Of each channel: the id that stands for no code."""
    delays: tuple[int, ...]
    """Steps by which each channel lags within a patch."""
    backbone: TransformerSpec
    patch_encoder: TransformerSpec
    patch_decoder: TransformerSpec
    rope_theta: float
    norm_eps: float
    initializer_range: float

    def __post_init__(self) -> None:
        for name in ("vocab_size", "context_groups", "group_size"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "a positive integer")
        for size, empty in zip(self.channel_sizes, self.empty_codes, strict=True):
            _require(2 <= size <= 65_536, "speech_vocab_size", size, "2..65536")
            _require(0 <= empty < size, "speech_zeroemb_idx", empty, f"0..{size - 1}")
        _require(min(self.delays) >= 0, "delay_pattern", self.delays, "no negative delay")
        for part in ("backbone", "patch_encoder", "patch_decoder"):
            _check_stack(part, getattr(self, part))
        _require(self.rope_theta > 0, "rope_theta", self.rope_theta, "a positive number")
        _require(self.norm_eps > 0, "rms_norm_eps", self.norm_eps, "a positive number")

    @property
    def num_channels(self) -> int:
        return len(self.channel_sizes)

    @property
    def patch_steps(self) -> int:
        """Steps of the patch decoder for one patch."""
        return self.group_size + max(self.delays)

    @classmethod
    def read(cls, path: Path) -> "ModelSpec":
        """The spec in a `config.json`."""
        return cls.from_config(read_model_config(path), where=str(path))

    @classmethod
    def from_config(cls, config: Mapping[str, Any], where: str = "config") -> "ModelSpec":
        """The spec that a published configuration describes.

        What may be left out: `head_dim` (width over heads), `input_local_dim` (`local_dim`),
        `input_full_attention` (false), `local_attn_dropout` (0.1), `initializer_range` (0.02).
        Raises `ModelError` for any other key that is missing or impossible.
        """
        keys = read_keys(config, where)
        try:
            return cls._from_checked_keys(keys)
        except ModelError as error:
            raise ModelError(f"{where}: {error}") from None
        except (TypeError, ValueError) as error:
            raise ModelError(f"{where}: a value has the wrong type: {error}") from None

    @classmethod
    def _from_checked_keys(cls, config: Mapping[str, Any]) -> "ModelSpec":
        width, local_width = _integer(config, "hidden_size"), _integer(config, "local_dim")
        num_heads = _integer(config, "num_attention_heads")
        encoder_width = config.get("input_local_dim") or local_width
        local_heads = _integer(config, "local_attn_heads")
        dropout = float(config.get("local_attn_dropout", 0.1))
        channels = _integer(config, "audio_channels")
        return cls(
            vocab_size=_integer(config, "vocab_size"),
            context_groups=_integer(config, "max_position_embeddings"),
            group_size=_integer(config, "group_size"),
            channel_sizes=_per_channel(config, "speech_vocab_size", channels),
            empty_codes=_per_channel(config, "speech_zeroemb_idx", channels),
            delays=_per_channel(config, "delay_pattern", channels),
            backbone=TransformerSpec(
                width=width,
                num_layers=_integer(config, "num_hidden_layers"),
                num_heads=num_heads,
                num_kv_heads=_integer(config, "num_key_value_heads"),
                head_width=config.get("head_dim") or width // max(num_heads, 1),
                ffn_width=_integer(config, "intermediate_size"),
                causal=True,
                dropout=0.0,
            ),
            patch_encoder=TransformerSpec(
                width=encoder_width,
                num_layers=_integer(config, "input_local_layers"),
                num_heads=local_heads,
                num_kv_heads=local_heads,
                head_width=encoder_width // max(local_heads, 1),
                ffn_width=4 * encoder_width,
                causal=not config.get("input_full_attention"),
                dropout=dropout,
            ),
            patch_decoder=TransformerSpec(
                width=local_width,
                num_layers=_integer(config, "local_layers"),
                num_heads=local_heads,
                num_kv_heads=local_heads,
                head_width=local_width // max(local_heads, 1),
                ffn_width=_integer(config, "local_ffn_dim"),
                causal=True,
                dropout=dropout,
            ),
            rope_theta=float(config["rope_theta"]),
            norm_eps=float(config["rms_norm_eps"]),
            initializer_range=float(config.get("initializer_range", 0.02)),
        )

    def to_config(self) -> dict[str, Any]:
        """The published form, from which `from_config` makes an equal spec."""
        return {
            "architectures": ["MiMoAudioModel"],
            "model_type": MODEL_TYPE,
            "vocab_size": self.vocab_size,
            "hidden_size": self.backbone.width,
            "intermediate_size": self.backbone.ffn_width,
            "num_hidden_layers": self.backbone.num_layers,
            "num_attention_heads": self.backbone.num_heads,
            "num_key_value_heads": self.backbone.num_kv_heads,
            "head_dim": self.backbone.head_width,
            "hidden_act": "silu",
            "rms_norm_eps": self.norm_eps,
            "rope_theta": self.rope_theta,
            "max_position_embeddings": self.context_groups,
            "attention_bias": True,
            "tie_word_embeddings": False,
            "use_sliding_window": False,
            "initializer_range": self.initializer_range,
            "group_size": self.group_size,
            "audio_channels": self.num_channels,
            "speech_vocab_size": "-".join(map(str, self.channel_sizes)),
            "speech_zeroemb_idx": "-".join(map(str, self.empty_codes)),
            "delay_pattern": "-".join(map(str, self.delays)),
            "local_dim": self.patch_decoder.width,
            "local_layers": self.patch_decoder.num_layers,
            "local_attn_heads": self.patch_decoder.num_heads,
            "local_ffn_dim": self.patch_decoder.ffn_width,
            "local_attn_dropout": self.patch_decoder.dropout,
            "input_local_layers": self.patch_encoder.num_layers,
            "input_local_dim": self.patch_encoder.width,
            "input_full_attention": not self.patch_encoder.causal,
        }


def read_model_config(path: Path) -> dict[str, Any]:
    """The mapping in a `config.json`, unread values and all."""
    return read_config(ModelError, "a language-model folder", path)


def _per_channel(config: Mapping[str, Any], key: str, channels: int) -> tuple[int, ...]:
    """A dashed list with an entry for each channel; a plain number means the same for all."""
    value = config[key]
    value = "-".join(map(str, value)) if isinstance(value, list) else value
    _require(type(value) in (int, str), key, value, "a number or numbers joined by dashes")
    parts = str(value).split("-")
    _require(all(part.isdigit() for part in parts), key, value, "numbers joined by dashes")
    numbers = tuple(map(int, parts))
    numbers = numbers * channels if len(numbers) == 1 else numbers
    _require(len(numbers) == channels, key, value, f"{channels} entries (audio_channels)")
    return numbers


def _check_stack(part: str, stack: TransformerSpec) -> None:
    for name in ("width", "num_layers", "num_heads", "num_kv_heads", "head_width", "ffn_width"):
        value = getattr(stack, name)
        _require(type(value) is int and value >= 1, f"{part} {name}", value, "a positive integer")
    _require(
        stack.num_heads % stack.num_kv_heads == 0,
        f"{part} num_heads",
        stack.num_heads,
        f"a multiple of its {stack.num_kv_heads} key-value heads",
    )
    even = stack.head_width % 2 == 0
    _require(even, f"{part} head_width", stack.head_width, "even, for rotation")
    _require(0 <= stack.dropout < 1, f"{part} dropout", stack.dropout, "0 to below 1")
