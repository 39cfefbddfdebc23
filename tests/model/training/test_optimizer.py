"""`model/training/optimizer.py`: rates over a run, for each component, and what decays."""

import pytest
import torch

from model.small import tiny_model
from model.training.optimizer import (
    COMPONENTS,
    component_of,
    make_optimizer,
    schedule,
    set_learning_rates,
)
from model.training.spec import LearningRates, OptimizerSpec
from schemas.errors import TrainingError

RATES = LearningRates(patch_encoder=1e-3, backbone=2e-4, patch_decoder=5e-4)


def shares(spec: OptimizerSpec, steps: int) -> list[float]:
    return [schedule(spec, step, steps) for step in range(steps)]


def test_constant_with_warm_up() -> None:
    spec = OptimizerSpec(schedule="constant", warmup_ratio=0.4)
    assert shares(spec, 10) == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1])
    assert shares(OptimizerSpec(schedule="constant", warmup_ratio=0.0), 3) == [1.0, 1.0, 1.0]


def test_cosine_with_warm_up_falls_to_its_final_share() -> None:
    spec = OptimizerSpec(schedule="cosine", warmup_ratio=0.2, final_share=0.1)
    found = shares(spec, 10)
    assert found[:3] == pytest.approx([0.5, 1.0, 1.0])
    assert found[6] == pytest.approx(0.55)  # half way: the mean of 1 and 0.1
    assert found[4] == pytest.approx(0.1 + 0.9 * (2 + 2**0.5) / 4)  # a quarter: cos of 45 degrees
    assert schedule(spec, 10, 10) == pytest.approx(0.1)
    assert found[2:] == sorted(found[2:], reverse=True)


def test_each_component_has_its_rate_at_every_step() -> None:
    model = tiny_model()
    optimizer = make_optimizer(model, OptimizerSpec(learning_rates=RATES))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    seen = set()
    for share in (1.0, 0.25):
        set_learning_rates(optimizer, share)
        for group in optimizer.param_groups:
            (component,) = {component_of(names[id(part)]) for part in group["params"]}
            assert group["lr"] == pytest.approx(share * getattr(RATES, component))
            seen |= {names[id(part)] for part in group["params"]}
    assert seen == set(names.values()), "every parameter is in a group"
    assert {component_of(name) for name in seen} == set(COMPONENTS)


def test_the_published_names_belong_to_their_components() -> None:
    assert component_of("input_local_transformer.layers.0.self_attn.q_proj.weight") == (
        "patch_encoder"
    )
    assert component_of("local_transformer.layers.0.mlp.up_proj.weight") == "patch_decoder"
    assert component_of("local_transformer_lm_heads.3.weight") == "patch_decoder"
    for name in ("model.layers.0.input_layernorm.weight", "lm_head.weight", "speech_embeddings.0"):
        assert component_of(name) == "backbone"


def test_matrices_decay_and_biases_and_norms_do_not() -> None:
    """Without gradients a step of AdamW is its decay alone: `rate * weight_decay` of a weight."""
    model = tiny_model()
    optimizer = make_optimizer(model, OptimizerSpec(learning_rates=RATES, weight_decay=0.5))
    before = {name: part.detach().clone() for name, part in model.named_parameters()}
    for part in model.parameters():
        part.grad = torch.zeros_like(part)
    optimizer.step()
    kept = set()
    for name, part in model.named_parameters():
        if name.endswith(".bias") or "norm" in name:
            assert torch.equal(part, before[name]), name
            kept.add(name)
        else:
            share = 1 - 0.5 * getattr(RATES, component_of(name))
            torch.testing.assert_close(part, share * before[name])
    assert any(name.endswith(".bias") for name in kept)


def test_a_rate_of_0_freezes_and_all_0_is_refused() -> None:
    model = tiny_model()
    rates = LearningRates(patch_encoder=1e-3, backbone=0.0, patch_decoder=0.0)
    make_optimizer(model, OptimizerSpec(learning_rates=rates))
    for name, part in model.named_parameters():
        assert part.requires_grad == (component_of(name) == "patch_encoder"), name
    none = LearningRates(patch_encoder=0.0, backbone=0.0, patch_decoder=0.0)
    with pytest.raises(TrainingError, match="all 0"):
        make_optimizer(model, OptimizerSpec(learning_rates=none))
