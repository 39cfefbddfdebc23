"""One string that is equal for two tokenizers exactly when their codes mean the same."""

import hashlib
import json

import torch

from tokenizer.options import TokenizerOptions
from tokenizer.spec import TokenizerSpec

RESAMPLER = "sinc_interp_hann width=6 rolloff=0.99"
_FORMAT = 1


def fingerprint_of(
    spec: TokenizerSpec,
    options: TokenizerOptions,
    *,
    weights_sha256: str,
    dtype: torch.dtype,
    trained: bool,
) -> str:
    """Canonical JSON of all that decides codes, for the head of every shard.

    The decoder's weights are left out: codes outlive a better decoder.
    """
    config = spec.to_config()
    encoder_config = {
        key: value
        for key, value in config.items()
        if not key.startswith(("decoder_", "vocoder_", "threshold_", "architectures"))
    }
    facts = {
        "format": _FORMAT,
        "tokenizer": config["model_type"],
        "trained": trained,
        "weights_sha256": weights_sha256,
        "config_sha256": hashlib.sha256(_canonical(encoder_config).encode()).hexdigest(),
        "sample_rate_hz": spec.sample_rate_hz,
        "frame_rate_hz": spec.frame_rate_hz,
        "codebook_sizes": list(spec.codebook_sizes),
        "segment_hops": options.segment_hops,
        "reference_padding": options.reference_padding,
        "dtype": str(dtype).removeprefix("torch."),
        "round_rope": options.round_rope,
        "round_tables": options.round_tables,
        "resampler": RESAMPLER,
    }
    return _canonical(facts)


_DECIDES_MEANING = ("weights_sha256", "config_sha256", "codebook_sizes")


def same_meaning(left: str, right: str) -> bool:
    """Whether codes of one fingerprint can be decoded by the tokenizer of the other.

    Precision, segmentation and padding decide which codes a sound gets, not what a code stands for.
    """
    try:
        facts = [json.loads(text) for text in (left, right)]
        return all(facts[0][key] == facts[1][key] for key in _DECIDES_MEANING)
    except (ValueError, TypeError, KeyError):
        return False


def _canonical(facts: dict[str, object]) -> str:
    return json.dumps(facts, sort_keys=True, separators=(",", ":"))
