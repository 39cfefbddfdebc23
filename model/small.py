"""Language models without training: the right shapes for tests, demonstrations and benchmarks.

Their weights are random numbers of a seed; nobody should read anything into what they say.
"""

import numpy as np
import torch

from model.mimo import MiMoAudio
from model.spec import ModelSpec, TransformerSpec
from model.special_tokens import WRITTEN_FORMS, SpecialTokens

_NUM_BYTES = 256


def small_special_tokens() -> SpecialTokens:
    """Ids after the 256 bytes of a text, in the order of the written forms."""
    ids = {form: _NUM_BYTES + place for place, form in enumerate(WRITTEN_FORMS.values())}
    return SpecialTokens.from_mapping(ids)


def tiny_spec() -> ModelSpec:
    """About 0.5 M parameters, most of them tables, with the same ids: for a try, and for tests."""
    return _spec(
        vocab_size=320,
        context_groups=2048,
        backbone=_stack(64, layers=2, heads=2, kv_heads=1, ffn=192),
        patch_encoder=_stack(32, layers=1, heads=2, kv_heads=2, ffn=128, causal=False),
        patch_decoder=_stack(32, layers=2, heads=2, kv_heads=2, ffn=128),
    )


def small_spec() -> ModelSpec:
    """About 1.5 M parameters; its audio ids fit the published tokenizer, its text ids are bytes."""
    return _spec(
        vocab_size=320,
        context_groups=2048,
        backbone=_stack(128, layers=4, heads=4, kv_heads=2, ffn=384),
        patch_encoder=_stack(64, layers=2, heads=4, kv_heads=4, ffn=256, causal=False),
        patch_decoder=_stack(64, layers=3, heads=4, kv_heads=4, ffn=256),
    )


def medium_spec() -> ModelSpec:
    """About 100 M parameters, for benchmarks."""
    return _spec(
        vocab_size=4096,
        context_groups=8192,
        backbone=_stack(768, layers=12, heads=12, kv_heads=4, ffn=2048),
        patch_encoder=_stack(256, layers=4, heads=16, kv_heads=16, ffn=1024, causal=False),
        patch_decoder=_stack(256, layers=8, heads=16, kv_heads=16, ffn=1024),
    )


def tiny_model(seed: int = 0) -> MiMoAudio:
    """As `small_model`, of `tiny_spec`."""
    return untrained_model(tiny_spec(), seed)


def small_model(seed: int = 0) -> MiMoAudio:
    """An untrained small model on the CPU in float32; the same seed gives the same bits."""
    return untrained_model(small_spec(), seed)


def untrained_model(
    spec: ModelSpec, seed: int = 0, special_tokens: SpecialTokens | None = None
) -> MiMoAudio:
    """A model of any size in float32, in eval mode, with random weights of a seed.

    Matrices have a standard deviation of one over the root of their inputs, so that logits spread
    and greedy generation varies; embeddings 1; biases are 0 and norms 1. `special_tokens` None are
    those of `small_special_tokens`.
    """
    model = MiMoAudio.without_storage(spec, special_tokens or small_special_tokens())
    model = model.to_empty(device="cpu")
    # numpy's generator is scalar code, equal on every machine; torch's depends on vector width.
    random = np.random.default_rng(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif parameter.ndim == 1:
                parameter.fill_(1.0)
            else:
                values = random.standard_normal(tuple(parameter.shape), dtype=np.float32)
                is_table = "embed" in name and not name.startswith("speech_embeddings_to_local")
                scale = 1.0 if is_table else parameter.shape[1] ** -0.5
                parameter.copy_(torch.from_numpy(values)).mul_(scale)
    return model.eval()


def speaking_half(model: MiMoAudio) -> MiMoAudio:
    """The model itself, its `<|empty|>` made about as likely as all text: it speaks half the time.

    The logit becomes so large that it wins nearly wherever it is positive. Which sign it has is the
    seed's; with the other one the small model would write four times as much as it speaks.
    """
    with torch.no_grad():
        model.lm_head.weight[model.special_tokens.empty] *= -60.0
    return model


def _spec(
    *,
    vocab_size: int,
    context_groups: int,
    backbone: TransformerSpec,
    patch_encoder: TransformerSpec,
    patch_decoder: TransformerSpec,
) -> ModelSpec:
    return ModelSpec(
        vocab_size=vocab_size,
        context_groups=context_groups,
        group_size=4,
        channel_sizes=(1025, 1025, 129, 129, 129, 129, 129, 129),
        empty_codes=(1024, 1024, 128, 128, 128, 128, 128, 128),
        delays=(0, 1, 2, 3, 4, 5, 6, 7),
        backbone=backbone,
        patch_encoder=patch_encoder,
        patch_decoder=patch_decoder,
        rope_theta=640_000.0,
        norm_eps=1e-6,
        initializer_range=0.02,
    )


def _stack(
    width: int, *, layers: int, heads: int, kv_heads: int, ffn: int, causal: bool = True
) -> TransformerSpec:
    return TransformerSpec(
        width=width,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_width=width // heads,
        ffn_width=ffn,
        causal=causal,
        dropout=0.0,
    )
