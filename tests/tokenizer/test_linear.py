"""`tokenizer/linear.py`: products of rows agree with the ordinary operators."""

import copy
import pickle
from typing import TypeVar, cast

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tokenizer.linear import Linear, TapConv, TapConvTransposed
from tokenizer.packing import Pack, taps, with_zero_row

CPU = torch.device("cpu")


Module = TypeVar("Module", bound=torch.nn.Module)


def filled(module: Module) -> Module:
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module.requires_grad_(False)


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_linear_map_is_what_its_name_says(gelu: bool, bias: bool, dtype: torch.dtype) -> None:
    layer = filled(Linear(24, 17, bias=bias)).to(dtype)
    rows = torch.randn(50, 24, dtype=dtype)
    wanted = functional.linear(rows, layer.weight, layer.bias)
    wanted = functional.gelu(wanted) if gelu else wanted
    with torch.inference_mode():
        torch.testing.assert_close(layer(rows, gelu=gelu), wanted, rtol=1e-4, atol=1e-4)


def test_a_changed_weight_is_used_at_once() -> None:
    layer, rows = filled(Linear(24, 17)), torch.randn(50, 24)
    with torch.no_grad():
        before = layer(rows)
        layer.weight.mul_(2)
        cast(Tensor, layer.bias).mul_(2)
        torch.testing.assert_close(layer(rows), 2 * before, rtol=1e-4, atol=1e-4)
        layer.weight = torch.nn.Parameter(layer.weight * 0)
        cast(Tensor, layer.bias).zero_()
        assert float(layer(rows).abs().max()) == 0.0


def test_gradients_are_those_of_the_ordinary_product() -> None:
    layer, rows = filled(Linear(24, 17)).requires_grad_(True), torch.randn(50, 24)
    layer(rows, gelu=True).sum().backward()
    plain = functional.gelu(functional.linear(rows, layer.weight, layer.bias)).sum()
    (wanted,) = torch.autograd.grad(plain, layer.weight)
    torch.testing.assert_close(layer.weight.grad, wanted)


def test_a_layer_that_was_used_can_be_copied_and_pickled() -> None:
    layer, rows = filled(Linear(24, 17)), torch.randn(50, 24)
    with torch.inference_mode():
        wanted = layer(rows)
        for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert torch.equal(twin(rows), wanted)


@pytest.mark.parametrize(("stride", "width", "padding"), [(1, 3, 1), (2, 3, 1), (2, 2, 0)])
def test_a_convolution_of_gathered_rows_is_conv1d_and_gelu(
    stride: int, width: int, padding: int
) -> None:
    conv = filled(TapConv(6, 9, width))
    clip = torch.randn(41, 6)
    wanted = functional.conv1d(clip.T[None], conv.weight, conv.bias, stride=stride, padding=padding)
    wanted = functional.gelu(wanted)[0].T
    source, target = Pack.of([41], CPU, None), Pack.of([wanted.shape[0]], CPU, None)
    plan = taps(source, target, stride=stride, width=width, first=-padding)
    with torch.inference_mode():
        found = conv(with_zero_row(clip), plan)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("width", "stride"), [(2, 2), (3, 2), (5, 2)])
def test_a_transposed_convolution_is_conv_transpose1d(width: int, stride: int) -> None:
    conv = filled(TapConvTransposed(6, 9, width, stride))
    clip = torch.randn(21, 6)
    wanted = functional.conv_transpose1d(clip.T[None], conv.weight, conv.bias, stride=stride)
    with torch.inference_mode():
        torch.testing.assert_close(conv(clip), wanted[0].T, rtol=1e-4, atol=1e-4)
