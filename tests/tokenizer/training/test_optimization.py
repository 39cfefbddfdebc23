"""`tokenizer/training/optimization.py`: the schedule, and a step that could do harm."""

import pytest
import torch
from torch import nn

from tokenizer.training.optimization import Optimization, gradient_norms
from tokenizer.training.spec import OptimizerSpec

SPEC = OptimizerSpec(learning_rate=1.0e-2, warmup_steps=10)


def test_the_learning_rate_rises_then_falls_to_a_tenth() -> None:
    rates = [Optimization(nn.Linear(2, 2), SPEC, 110).learning_rate(step) for step in range(111)]
    assert rates[0] == pytest.approx(1e-3)
    assert rates[9] == rates[10] == pytest.approx(1e-2)
    assert rates[60] == pytest.approx(5.5e-3)
    assert rates[110] == pytest.approx(1e-3)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_a_gradient_that_is_not_finite_changes_nothing_and_is_told() -> None:
    module = nn.Linear(2, 1)
    before = module.weight.detach().clone()
    optimization = Optimization(module, SPEC, 100)
    norms = optimization.step(module(torch.tensor([[float("inf"), 0.0]])).sum(), 0)
    assert not torch.isfinite(norms["all"])
    assert torch.equal(module.weight, before)
    norms = optimization.step(module(torch.ones(1, 2)).sum(), 1)
    assert torch.isfinite(norms["all"])
    assert not torch.equal(module.weight, before)


def test_gradient_norms_are_told_by_layer() -> None:
    model = nn.ModuleDict({"stack": nn.ModuleList([nn.Linear(1, 1, bias=False) for _ in range(2)])})
    for value, weight in zip((3.0, 4.0), model.parameters(), strict=True):
        weight.grad = torch.full_like(weight, value)
    assert {name: float(norm) for name, norm in gradient_norms(model).items()} == {
        "stack.0": 3.0,
        "stack.1": 4.0,
    }
