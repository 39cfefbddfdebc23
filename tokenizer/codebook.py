"""One codebook: a table of vectors, the nearest of which stands for an input."""

# Shapes: N rows, D width, V entries.

import torch
from torch import Tensor, nn
from torch.nn import functional

from tokenizer.linear import RowProduct, Version, version_of


class Codebook(nn.Module):
    """A table `[V, D]` that is always float32, and the statistics from which it is trained.

    It knows nothing of residuals. Buffer names are the published checkpoint's.
    """

    inited: Tensor
    cluster_size: Tensor
    embed: Tensor
    embed_avg: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("inited", torch.zeros(1))
        self.register_buffer("cluster_size", torch.zeros(size))
        self.register_buffer("embed", torch.zeros(size, width))
        self.register_buffer("embed_avg", torch.zeros(size, width))
        self._product = RowProduct()
        self._half_norms: tuple[Version, Tensor] | None = None

    @property
    def size(self) -> int:
        return self.embed.shape[0]

    def nearest(self, x_ND: Tensor) -> Tensor:
        """Index of the entry at the smallest Euclidean distance, the first of equals, `[N]`."""
        return self.closeness(x_ND).argmax(dim=-1)

    def closeness(self, x_ND: Tensor) -> Tensor:
        """`[N, V]`, largest where the squared distance is smallest.

        |x - e|^2 is |x|^2 - 2 (x.e - |e|^2/2): the bracket decides, and without |x|^2 less is
        rounded away.
        """
        return self._product(x_ND, self.embed, bias_O=self._minus_half_norms())

    def lookup(self, codes_N: Tensor) -> Tensor:
        """The entries' vectors, `[N, D]`."""
        return functional.embedding(codes_N, self.embed)

    def _minus_half_norms(self) -> Tensor:
        source = version_of(self.embed)
        if self._half_norms is None or self._half_norms[0] != source:
            self._half_norms = (source, self.embed.square().sum(dim=-1) * -0.5)
        return self._half_norms[1]
