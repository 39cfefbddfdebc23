"""AdamW with a learning rate for each component, and the schedules of the report."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from model.training.spec import OptimizerSpec
from schemas.errors import TrainingError

Component = Literal["patch_encoder", "backbone", "patch_decoder"]
COMPONENTS: tuple[Component, ...] = ("patch_encoder", "backbone", "patch_decoder")


def component_of(name: str) -> Component:
    """Component of a parameter of `MiMoAudio`, by the published names.

    The patch decoder has its heads; embeddings, projections and the text head go with the backbone.
    """
    if name.startswith("input_local_transformer."):
        return "patch_encoder"
    return "patch_decoder" if name.startswith("local_transformer") else "backbone"


def make_optimizer(model: nn.Module, spec: OptimizerSpec) -> torch.optim.AdamW:
    """AdamW over what is trained. Weights of two dimensions decay; biases and norms do not.

    A component whose learning rate is 0 is frozen: its parameters want no gradient from then on.
    Raises `TrainingError` where that leaves nothing.
    """
    groups: list[dict[str, Any]] = []
    for component in COMPONENTS:
        rate = getattr(spec.learning_rates, component)
        mine = [part for name, part in model.named_parameters() if component_of(name) == component]
        for part in mine:
            part.requires_grad_(rate > 0)
        if rate == 0:
            continue
        for decays in (True, False):
            parts = [part for part in mine if (part.ndim >= 2) == decays]
            if parts:
                groups.append(
                    {
                        "params": parts,
                        "lr": rate,
                        "base_lr": rate,
                        "weight_decay": spec.weight_decay if decays else 0.0,
                    }
                )
    if not groups:
        raise TrainingError("optimizer.learning_rates are all 0, so nothing would be trained")
    return torch.optim.AdamW(groups, betas=spec.betas, fused=True)


def schedule(spec: OptimizerSpec, step: int, total_steps: int) -> float:
    """Share of the learning rates at a step, counted from 0.

    Linear over the first `warmup_ratio` of all steps, then constant, or a cosine down to
    `final_share`.
    """
    warmup = math.ceil(spec.warmup_ratio * total_steps)
    if step < warmup:
        return (step + 1) / warmup
    if spec.schedule == "constant":
        return 1.0
    done = (step - warmup) / max(1, total_steps - warmup)
    falling = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return spec.final_share + (1 - spec.final_share) * falling


def set_learning_rates(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Each group's own rate times `share`."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * share


@torch.no_grad()
def gradient_norms(model: nn.Module) -> Mapping[Component, Tensor]:
    """Norm of each trained component's gradient, over all processes."""
    squares: dict[Component, list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            square = parameter.grad.float().square().sum()
            whole = square.full_tensor() if isinstance(square, DTensor) else square
            squares.setdefault(component_of(name), []).append(whole)
    return {component: torch.stack(parts).sum().sqrt() for component, parts in squares.items()}
