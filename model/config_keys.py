"""The keys of a language model's `config.json`: what is read, what must be so, what is kept."""

import logging
from collections.abc import Mapping
from typing import Any

from schemas.errors import ModelError

MODEL_TYPE = "qwen2"
OWN_KEY = "audiomill"
"""Of what we note beside the published fields."""

# Bookkeeping of whoever wrote the file, or read by nothing in the published model.
_WITHOUT_EFFECT = frozenset(
    {
        "_name_or_path",
        "add_speech_sosp_eosp",
        "architectures",
        "attention_dropout",
        "auto_map",
        "bos_token_id",
        "dtype",
        "eos_token_id",
        "layer_types",
        "max_window_layers",
        "n_rvq",
        "pad_token_id",
        "sliding_window",  # the published code applies none
        "torch_dtype",
        "transformers_version",
        "use_cache",
    }
)
_REWRITTEN = frozenset({"dtype", "torch_dtype", "rope_parameters", OWN_KEY})
# May be left out; the only value that this model can be.
_FIXED: Mapping[str, Any] = {
    "model_type": MODEL_TYPE,
    "hidden_act": "silu",
    "attention_bias": True,
    "rope_scaling": None,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "add_input_local_transformer": True,
}
_REQUIRED = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "rms_norm_eps",
    "rope_theta",
    "max_position_embeddings",
    "group_size",
    "audio_channels",
    "speech_vocab_size",
    "speech_zeroemb_idx",
    "delay_pattern",
    "local_dim",
    "local_layers",
    "local_attn_heads",
    "local_ffn_dim",
    "input_local_layers",
)
_OPTIONAL = (
    "head_dim",
    "initializer_range",
    "input_full_attention",
    "input_local_dim",
    "local_attn_dropout",
)


def read_keys(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The keys that describe the model. Raises `ModelError` for one that is missing or impossible.

    Of an unknown key the log says that it has no effect: what a newer library adds to a released
    folder must not keep it from opening, and weights that do not fit are refused in any case.
    """
    config = dict(config)
    # Where transformers 5 keeps it.
    rope = config.pop("rope_parameters", None)
    if isinstance(rope, Mapping):
        kind = rope.get("rope_type", "default")
        if kind != "default":
            raise ModelError(f"{where}: rope_type is {kind!r}, wanted 'default'")
        config.setdefault("rope_theta", rope.get("rope_theta"))
    if missing := [key for key in _REQUIRED if key not in config]:
        raise ModelError(f"{where}: missing {', '.join(missing)}")
    for key, value in _FIXED.items():
        if config.get(key, value) != value:
            raise ModelError(f"{where}: {key} is {config[key]!r}, wanted {value!r}")
    known = {*_REQUIRED, *_OPTIONAL, *_FIXED, *_WITHOUT_EFFECT, OWN_KEY}
    for key in sorted(set(config) - known):
        logging.getLogger(__name__).warning(
            "%s: key %r is unknown to this model and has no effect", where, key
        )
    return {key: config[key] for key in (*_REQUIRED, *_OPTIONAL) if key in config}


def unread_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the file says besides, for whoever reads the saved model: token ids, say."""
    return {
        key: value
        for key, value in config.items()
        if key not in {*_REQUIRED, *_OPTIONAL, *_FIXED, *_REWRITTEN}
    }
