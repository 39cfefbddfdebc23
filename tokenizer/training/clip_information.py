"""How much a frame's neighbours tell of the clip that it comes from.

Where clips differ in voice and channel, this is what keeps a codebook's entries from being anyone's
own: the loss is zero where the frames of all clips of a step lie among each other. It looks at
frames and not at entries, which follow the encoder with a delay, and distances are in units of the
frames' own, so that nothing is won by shrinking or by leaving the codebook behind.
"""

# Shapes: N frames, C clips.

from collections.abc import Sequence

import torch
from torch import Tensor

APART = 5
"""Frames of a clip less than so many places apart are no neighbours: sound changes slowly."""
SPREAD = 2.0
"""Weights of neighbours fall by e with so many mean squared distances to the nearest."""
_TINY = 1e-9


def clip_information(rows_ND: Tensor, lengths: Sequence[int]) -> Tensor:
    """How far the clips' shares of a frame's neighbours diverge from their shares of all frames.

    In nats, a mean over the frames, from 0 to about log C; the gradient reaches the rows. The rows
    are those of the clips one after the other, `lengths` frames each. Frames without a neighbour,
    as of a lone short clip, do not count.
    """
    device = rows_ND.device
    counts_C = torch.tensor(list(lengths), device=device)
    clip_N = torch.repeat_interleave(torch.arange(len(counts_C), device=device), counts_C)
    place_N = torch.arange(len(clip_N), device=device)
    is_apart_NN = (clip_N[:, None] != clip_N) | ((place_N[:, None] - place_N).abs() >= APART)
    norms_N = rows_ND.square().sum(dim=-1)
    distances_NN = (norms_N[:, None] + norms_N - 2 * rows_ND @ rows_ND.T).clamp(min=0)
    has_neighbours_N = is_apart_NN.any(dim=-1)
    if not has_neighbours_N.any():
        return rows_ND.sum() * 0
    distances_NN = distances_NN[has_neighbours_N]
    is_apart_NN = is_apart_NN[has_neighbours_N]
    nearest_N = distances_NN.masked_fill(~is_apart_NN, torch.inf).amin(dim=-1)
    closeness_NN = distances_NN / (-SPREAD * nearest_N.mean().clamp(min=_TINY))
    weights_NN = closeness_NN.masked_fill(~is_apart_NN, -torch.inf).softmax(dim=-1)
    shares_NC = _by_clip(weights_NN, clip_N, len(counts_C)).clamp(min=_TINY)
    expected_NC = _by_clip(is_apart_NN.to(rows_ND.dtype), clip_N, len(counts_C))
    expected_NC = expected_NC / expected_NC.sum(dim=-1, keepdim=True)
    return (shares_NC * (shares_NC / expected_NC.clamp(min=_TINY)).log()).sum(dim=-1).mean()


def _by_clip(values_NN: Tensor, clip_N: Tensor, num_clips: int) -> Tensor:
    sums_NC = values_NN.new_zeros(values_NN.shape[0], num_clips)
    return sums_NC.index_add(1, clip_N, values_NN)
