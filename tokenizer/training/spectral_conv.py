"""Convolution under spectral norm, the layer of all discriminators."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations


def spectral_conv(
    in_channels: int,
    out_channels: int,
    kernel: tuple[int, int],
    *,
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
) -> nn.Conv2d:
    """A convolution whose weight, as a matrix `[out, in * kernel]`, has a largest singular value
    of about 1 (Miyato et al. 2018).

    Padded so that stride 1 keeps both sizes; kernels are odd. In training mode every forward
    improves the estimate of that value by one power iteration, in evaluation mode none does.
    """
    padding = tuple((size - 1) // 2 * step for size, step in zip(kernel, dilation, strict=True))
    conv = _Float32WeightConv(
        in_channels,
        out_channels,
        kernel,
        stride,
        padding=cast(tuple[int, int], padding),
        dilation=dilation,
    )
    parametrizations.spectral_norm(conv)
    return conv


class _Float32WeightConv(nn.Conv2d):
    """A convolution that may run under autocast, while what its weight is made from may not.

    On CUDA, autocast would run the products of the power iteration in half precision.
    """

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            weight = self.weight
        return functional.conv2d(
            x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )
