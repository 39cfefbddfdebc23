"""Matrix products of rows, in the layout that this machine multiplies fastest.

On a CPU in float32 a weight is laid out once for oneDNN, which then multiplies 10 to 90 % faster
than the ordinary product (most on few rows), applies GELU on the way out, and was seen to give a
row the same bits in tiles of 48, 96 and 192 rows and for any number of threads. The copy is made
at first use and costs the weight's memory again.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


class RowProduct:
    """Products of rows with one matrix `[outputs, inputs]`, whose layout is kept between calls.

    The matrix is the weight itself, or what `as_matrix` makes of one or several weights.
    """

    def __init__(self, as_matrix: Callable[..., Tensor] | None = None) -> None:
        self._as_matrix = as_matrix or _unchanged
        self._source: tuple[Version, ...] = ()
        self._laid_out: Tensor | None = None

    def __call__(
        self,
        rows_NI: Tensor,
        *weights: Tensor,
        bias_O: Tensor | None = None,
        gelu: bool = False,
        plus_NO: Tensor | None = None,
    ) -> Tensor:
        """`rows @ matrix.T + bias`, then GELU if asked, then `plus` if given."""
        if not onednn_serves(rows_NI):
            out = functional.linear(rows_NI, self._as_matrix(*weights), bias_O)
            out = functional.gelu(out) if gelu else out
            return out if plus_NO is None else plus_NO + out
        source = tuple(version_of(weight) for weight in weights)
        if self._laid_out is None or source != self._source:
            matrix_OI = self._as_matrix(*(weight.detach() for weight in weights)).contiguous()
            self._laid_out = torch.ops.mkldnn._reorder_linear_weight(matrix_OI, None)
            self._source = source
        multiply = torch.ops.mkldnn._linear_pointwise
        out_NO: Tensor
        if plus_NO is None:
            activation = "gelu" if gelu else "none"
            out_NO = multiply(rows_NI, self._laid_out, bias_O, activation, [], "none")
        elif gelu:
            raise ValueError("a product with GELU has nothing added to it")
        else:
            out_NO = multiply.binary(rows_NI, plus_NO, self._laid_out, bias_O, "add")
        return out_NO

    def __getstate__(self) -> dict[str, object]:
        # The layout is an opaque tensor; a copy or another process makes its own.
        return {"_as_matrix": self._as_matrix, "_source": (), "_laid_out": None}


Version = tuple[int, int, torch.dtype]


def version_of(tensor: Tensor) -> Version:
    """Changes when the tensor's values may have: after an optimizer step, a load or a cast."""
    edits = 0 if tensor.is_inference() else tensor._version
    return tensor.data_ptr(), edits, tensor.dtype


class Linear(nn.Module):
    """A linear map of rows.

    Parameters are left as memory holds them: they come from a checkpoint or from a seed.
    """

    def __init__(self, num_inputs: int, num_outputs: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_outputs, num_inputs))
        self.bias = nn.Parameter(torch.empty(num_outputs)) if bias else None
        self._product = RowProduct()

    def forward(self, rows_NI: Tensor, *, gelu: bool = False, plus: Tensor | None = None) -> Tensor:
        """The mapped rows, then GELU if asked, then `plus` added if given."""
        return self._product(rows_NI, self.weight, bias_O=self.bias, gelu=gelu, plus_NO=plus)


class TapConv(nn.Module):
    """A 1-D convolution as a product of gathered rows, with parameters shaped as `nn.Conv1d`'s."""

    def __init__(self, num_inputs: int, num_outputs: int, width: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_outputs, num_inputs, width))
        self.bias = nn.Parameter(torch.empty(num_outputs)) if bias else None
        self._product = RowProduct(_taps_as_columns)

    def forward(self, rows_NC: Tensor, plan_NW: Tensor) -> Tensor:
        """GELU of the convolution where `plan_NW` (see `packing.taps`) says which rows are read."""
        read = rows_NC.index_select(0, plan_NW.reshape(-1)).reshape(plan_NW.shape[0], -1)
        return self._product(read, self.weight, bias_O=self.bias, gelu=True)


class TapConvTransposed(nn.Module):
    """A transposed 1-D convolution, with parameters shaped as `nn.ConvTranspose1d`'s."""

    def __init__(self, num_inputs: int, num_outputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(num_inputs, num_outputs, width))
        self.bias = nn.Parameter(torch.empty(num_outputs))
        self._product = RowProduct(_taps_as_rows)

    def forward(self, rows_LC: Tensor) -> Tensor:
        """All `(L - 1) * stride + width` rows that one clip's `L` rows become."""
        _, num_outputs, width = self.weight.shape
        taps_LWC = self._product(rows_LC, self.weight).unflatten(1, (width, num_outputs))
        reach = (rows_LC.shape[0] - 1) * self.stride + 1
        out = rows_LC.new_zeros(reach + width - 1, num_outputs)
        for tap in range(width):
            out[tap : tap + reach : self.stride] += taps_LWC[:, tap]
        return out + self.bias


def _unchanged(weight: Tensor) -> Tensor:
    return weight


def _taps_as_columns(weight_OCW: Tensor) -> Tensor:
    """`[outputs, taps * channels]`, as gathered rows lie."""
    return weight_OCW.transpose(1, 2).flatten(1)


def _taps_as_rows(weight_COW: Tensor) -> Tensor:
    """`[taps * outputs, channels]`: one product gives what each row adds to each of its places."""
    return weight_COW.permute(2, 1, 0).flatten(0, 1)


def onednn_serves(rows: Tensor) -> bool:
    """Whether products of such rows take the layout; else a `RowProduct` is the ordinary one."""
    return (
        rows.device.type == "cpu"
        and rows.dtype == torch.float32
        and not torch.is_grad_enabled()
        and _HAS_ONEDNN
    )


_HAS_ONEDNN = (
    torch.backends.mkldnn.is_available()
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
)
