"""Which parameters decay."""

from typing import Any

from torch import nn

from schemas.errors import TokenizerError


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Groups for `torch.optim.AdamW`: weights of two and more dimensions, which decay, then biases
    and norms, which never do. Frozen parameters are left out, and so is an empty group.

    Codebooks are buffers, moved by running averages, so none is here. Discriminators take 0.0: the
    spectral norm sets the size of their weights.

    Raises `TokenizerError` for a negative decay, or where everything is frozen.
    """
    if weight_decay < 0:
        raise TokenizerError(f"weight_decay is {weight_decay}, wanted 0 or more")
    trained = [part for part in module.parameters() if part.requires_grad]
    if not trained:
        raise TokenizerError(
            f"optimizer: no parameter of {type(module).__name__} is to be trained, wanted at "
            "least one with requires_grad"
        )
    groups = [
        {"params": [part for part in trained if part.ndim >= 2], "weight_decay": weight_decay},
        {"params": [part for part in trained if part.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
