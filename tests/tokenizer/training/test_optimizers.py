"""`tokenizer/training/optimizers.py`: which parameters decay."""

import pytest
import torch
from torch import nn

from schemas.errors import TokenizerError
from tokenizer.model import TokenizerModel
from tokenizer.small import small_spec
from tokenizer.training.discriminators import MultiPeriodDiscriminator
from tokenizer.training.optimizers import parameter_groups


@pytest.fixture
def model() -> TokenizerModel:
    return TokenizerModel(small_spec())


def named(model: nn.Module, group: dict[str, list[nn.Parameter]]) -> set[str]:
    members = {id(part) for part in group["params"]}
    return {name for name, part in model.named_parameters() if id(part) in members}


def test_weights_decay_and_biases_and_norms_do_not(model: TokenizerModel) -> None:
    decaying, steady = parameter_groups(model, 0.1)
    assert (decaying["weight_decay"], steady["weight_decay"]) == (0.1, 0.0)
    assert all(name.endswith("weight") for name in named(model, decaying))
    assert all(
        name.endswith("bias") or "norm" in name.rsplit(".", 2)[-2] for name in named(model, steady)
    )


def test_every_parameter_is_in_one_group(model: TokenizerModel) -> None:
    members = [id(part) for group in parameter_groups(model, 0.1) for part in group["params"]]
    assert sorted(members) == sorted(id(part) for part in model.parameters())


def test_codebooks_are_in_none(model: TokenizerModel) -> None:
    tables = {id(table) for name, table in model.named_buffers() if name.endswith("embed")}
    assert tables
    members = {id(part) for group in parameter_groups(model, 0.1) for part in group["params"]}
    assert not tables & members


def test_frozen_parameters_are_left_out(model: TokenizerModel) -> None:
    model.encoder.requires_grad_(False)
    for group in parameter_groups(model, 0.1):
        assert named(model, group)
        assert all(name.startswith("decoder.") for name in named(model, group))


def test_a_step_without_gradient_shrinks_only_what_decays() -> None:
    layer = nn.Linear(3, 3)
    before = [part.detach().clone() for part in (layer.weight, layer.bias)]
    for part in layer.parameters():
        part.grad = torch.zeros_like(part)
    torch.optim.AdamW(parameter_groups(layer, 0.5), lr=0.1).step()
    torch.testing.assert_close(layer.weight.detach(), before[0] * 0.95)
    assert torch.equal(layer.bias, before[1])


def test_nothing_of_a_discriminator_decays() -> None:
    model = MultiPeriodDiscriminator((2,), channels=1)
    groups = parameter_groups(model, 0.0)
    assert [group["weight_decay"] for group in groups] == [0.0, 0.0]
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_an_empty_group_is_left_out() -> None:
    (group,) = parameter_groups(nn.LayerNorm(4), 0.1)
    assert group["weight_decay"] == 0.0


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(TokenizerError, match="no parameter of Linear is to be trained"):
        parameter_groups(nn.Linear(2, 2).requires_grad_(False), 0.1)
    with pytest.raises(TokenizerError, match=r"weight_decay is -0\.1"):
        parameter_groups(nn.Linear(2, 2), -0.1)
