"""One optimizer step: schedule, clipping, averaging over processes, and what is logged of it."""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, distributed, nn

from tokenizer.training.optimizers import parameter_groups
from tokenizer.training.spec import OptimizerSpec

_FINAL_SHARE = 0.1


class Optimization:
    """AdamW over one module, with a schedule of so many steps."""

    def __init__(self, module: nn.Module, spec: OptimizerSpec, total_steps: int) -> None:
        self.module = module
        self.spec = spec
        self._total = total_steps
        groups = parameter_groups(module, spec.weight_decay)
        self.optimizer = torch.optim.AdamW(
            groups, lr=spec.learning_rate, betas=spec.betas, fused=True
        )

    def learning_rate(self, step: int) -> float:
        """Of a step, counted from 0."""
        spec = self.spec
        if step < spec.warmup_steps:
            return spec.learning_rate * (step + 1) / spec.warmup_steps
        done = (step - spec.warmup_steps) / max(1, self._total - spec.warmup_steps)
        falling = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        return spec.learning_rate * (_FINAL_SHARE + (1 - _FINAL_SHARE) * falling)

    def step(self, loss: Tensor, step: int) -> dict[str, Tensor]:
        """Backward and update; returns the gradient's norm, whole and by block.

        A gradient that is not finite changes nothing: the caller sees its norm.
        """
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        parameters = [part for part in self.module.parameters() if part.grad is not None]
        average_gradients(parameters)
        norms = gradient_norms(self.module)
        whole = nn.utils.clip_grad_norm_(parameters, self.spec.max_grad_norm)
        if bool(torch.isfinite(whole)):
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate(step)
            self.optimizer.step()
        return {"all": whole.detach(), **norms}


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """The mean gradient over all processes, in one exchange."""
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return
    gradients = [part.grad for part in parameters if part.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, part in zip(
        gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True
    ):
        gradient.copy_(part.view_as(gradient))


@torch.no_grad()
def gradient_norms(module: nn.Module) -> Mapping[str, Tensor]:
    """Norm of each block's gradient: a block is a layer of a stack, or a child outside of one."""
    squares: dict[str, list[Tensor]] = {}
    for name, parameter in module.named_parameters():
        if parameter.grad is not None:
            squares.setdefault(_block(name), []).append(parameter.grad.float().square().sum())
    return {block: torch.stack(parts).sum().sqrt() for block, parts in squares.items()}


def _block(name: str) -> str:
    parts = name.split(".")
    for place, part in enumerate(parts):
        if part.isdigit():
            return ".".join(parts[: place + 1])
    return ".".join(parts[:-2]) or parts[0]
