"""`model/backbone.py`: with a cache as without one, alone as in a batch."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.backbone import Transformer
from model.cache import KVCache
from model.documents import Documents
from model.small import small_model, small_spec, untrained_model


@pytest.fixture(scope="module")
def stack() -> Transformer:
    return small_model().model


def cache_of(stack: Transformer, batch_size: int, capacity: int = 80) -> KVCache:
    return KVCache(
        stack.spec,
        batch_size=batch_size,
        capacity=capacity,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


def rows(stack: Transformer, *shape: int) -> Tensor:
    return torch.randn(*shape, stack.spec.width, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("cuts", [[70], [1] * 70, [30, 1, 1, 8, 30], [66, 4]])
@torch.no_grad()
def test_in_parts_as_at_once(stack: Transformer, cuts: list[int]) -> None:
    x = rows(stack, 2, 70)
    cache = cache_of(stack, 2)
    parts = []
    for part in x.split(cuts, dim=1):
        parts.append(stack(part, cache))
        cache.advance([part.shape[1]] * 2)
    torch.testing.assert_close(torch.cat(parts, dim=1), stack(x), atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_unequal_rows_as_each_alone(stack: Transformer) -> None:
    """Packed side by side, twice, and then by one position each."""
    x = rows(stack, 3, 40)
    cache = cache_of(stack, 3)
    found: list[list[Tensor]] = [[], [], []]
    at = [0, 0, 0]
    for counts in ((20, 3, 11), (2, 30, 1), (1, 1, 1)):
        parts = [x[row, at[row] : at[row] + count] for row, count in enumerate(counts)]
        packed = torch.cat(parts).unsqueeze(0)
        if max(counts) == 1:
            new = stack(packed.transpose(0, 1), cache).transpose(0, 1)
        else:
            new = stack(packed, cache, documents=Documents(counts))
        cache.advance(counts)
        for row, part in enumerate(new[0].split(counts)):
            found[row].append(part)
            at[row] += counts[row]
    for row, length in enumerate(at):
        wanted = stack(x[row : row + 1, :length])[0]
        torch.testing.assert_close(torch.cat(found[row]), wanted, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_only_a_bidirectional_stack_looks_ahead(stack: Transformer) -> None:
    encoder = small_model().input_local_transformer
    for part, looks_ahead in ((stack, False), (encoder, True)):
        x = rows(part, 1, 4)
        other = x.clone()
        other[:, -1] += 1.0
        assert torch.equal(part(x)[:, 0], part(other)[:, 0]) != looks_ahead


def test_dropout_acts_in_training_only() -> None:
    spec = small_spec()
    spec = replace(spec, patch_decoder=replace(spec.patch_decoder, dropout=0.5))
    stack = untrained_model(spec).local_transformer
    x = rows(stack, 1, 6)
    torch.manual_seed(0)
    assert not torch.equal(stack.train()(x), stack(x))
    assert torch.equal(stack.eval()(x), stack(x))


def test_every_parameter_gets_a_gradient(stack: Transformer) -> None:
    other = small_model().model
    other(rows(other, 2, 5)).square().sum().backward()
    without = [name for name, part in other.named_parameters() if part.grad is None]
    assert without == ["embed_tokens.weight"]
