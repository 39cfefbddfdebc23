"""Maps and tables whose values come from a checkpoint or a seed, never from here."""

import torch
from torch import Tensor, nn

from tokenizer.linear import RowProduct


class Linear(nn.Linear):
    """Parameters are left as memory holds them: they come from a checkpoint or from a seed."""

    def __init__(self, num_inputs: int, num_outputs: int, *, bias: bool = True) -> None:
        super().__init__(num_inputs, num_outputs, bias=bias)
        self._product = RowProduct()

    def reset_parameters(self) -> None:
        # Drawing on the meta device would load 100 MB of torch's Python kernels.
        pass

    def of_rows(self, rows_ND: Tensor, *, plus: Tensor | None = None) -> Tensor:
        """The same for generation, `plus` added: by weights laid out for it, where that is faster.

        Not for training, where a sharded weight changes behind the back of its layout.
        """
        return self._product(rows_ND, self.weight, bias_O=self.bias, plus_NO=plus)


class Embedding(nn.Embedding):
    """As `Linear`: no values of its own."""

    def reset_parameters(self) -> None:
        pass


def stacked(*weights: Tensor) -> Tensor:
    """Weights of one product for several maps of the same rows."""
    return torch.cat(weights)
