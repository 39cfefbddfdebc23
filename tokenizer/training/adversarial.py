"""Losses between a decoder and its discriminators: equations 2 to 7 of the MiMo-Audio report.

x is a recording, y its reconstruction, D_k the score and D_kl the l-th of L_k feature maps of the
k-th of K sub-discriminators; mean runs over clips and places. Judgements of both sides come in the
same order. All losses are float32 scalars, whatever the precision of the judgements.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from tokenizer.training.discriminators import Judgement

_MIN_MAGNITUDE = 1e-5


def discriminator_loss(real: Sequence[Judgement], fake: Sequence[Judgement]) -> Tensor:
    """Hinge: 1/K sum_k mean(max(0, 1 - D_k(x)) + max(0, 1 + D_k(y))). 2 where nothing is told
    apart, 0 where every score is past its margin. `fake` is of a detached reconstruction.
    """
    return torch.stack(
        [
            functional.relu(1 - of_real.score.float()).mean()
            + functional.relu(1 + of_fake.score.float()).mean()
            for of_real, of_fake in zip(real, fake, strict=True)
        ]
    ).mean()


def generator_loss(fake: Sequence[Judgement]) -> Tensor:
    """Hinge: 1/K sum_k mean(max(0, 1 - D_k(y))), so nothing pulls on what already passes."""
    return torch.stack([functional.relu(1 - of.score.float()).mean() for of in fake]).mean()


def feature_matching_loss(real: Sequence[Judgement], fake: Sequence[Judgement]) -> Tensor:
    """1/K sum_k 1/L_k sum_l mean|D_kl(x) - D_kl(y)| / mean|D_kl(x)|.

    The divisor makes every layer weigh the same, however large its activations. The gradient goes
    to `fake` only.
    """
    return torch.stack(
        [
            torch.stack(
                [
                    _relative_distance(map_of_real.detach().float(), map_of_fake.float())
                    for map_of_real, map_of_fake in zip(
                        of_real.features, of_fake.features, strict=True
                    )
                ]
            ).mean()
            for of_real, of_fake in zip(real, fake, strict=True)
        ]
    ).mean()


def _relative_distance(real: Tensor, fake: Tensor) -> Tensor:
    return (fake - real).abs().mean() / real.abs().mean().clamp(min=_MIN_MAGNITUDE)
