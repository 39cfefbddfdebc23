"""Several processes, one model: FSDP2, activation checkpointing and compilation, layer by layer."""

from collections.abc import Iterator

import torch
from torch import distributed, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    CheckpointImpl,
    checkpoint_wrapper,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from model.mimo import MiMoAudio
from model.training.objective import Objective
from model.training.spec import TrainRunSpec


def prepare(objective: Objective, spec: TrainRunSpec, device: torch.device) -> None:
    """Changes the objective in place; names in `state_dict()` stay the published ones.

    Every layer of the three stacks is a unit of its own: gathered before it runs, freed after.
    """
    if spec.activation_checkpointing:
        for layers, number, layer in _layers(objective.model):
            layers[number] = checkpoint_wrapper(layer, checkpoint_impl=CheckpointImpl.NO_REENTRANT)
    if spec.compile:
        for _, _, layer in _layers(objective.model):
            layer.compile(dynamic=True)
    if spec.shard and distributed.is_initialized() and distributed.get_world_size() > 1:
        mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
        for _, _, layer in _layers(objective.model):
            fully_shard(layer, mesh=mesh)
        fully_shard(objective, mesh=mesh)


def exchange_gradients(objective: Objective, *, now: bool) -> None:
    """Whether the next backward pass exchanges gradients: the last of a step does."""
    if isinstance(objective, FSDPModule):
        objective.set_requires_gradient_sync(now)


def average_unsharded(objective: Objective) -> None:
    """The mean gradient over all processes, where each holds the whole model."""
    if isinstance(objective, FSDPModule) or not distributed.is_initialized():
        return
    world = distributed.get_world_size()
    for parameter in objective.parameters():
        if parameter.requires_grad:
            # One process may have had no target of some kind; the others' gradients count.
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            distributed.all_reduce(parameter.grad)
            parameter.grad /= world


def _layers(model: MiMoAudio) -> Iterator[tuple[nn.ModuleList, int, nn.Module]]:
    for stack in (model.model, model.input_local_transformer, model.local_transformer):
        for number, layer in enumerate(stack.layers):
            yield stack.layers, number, layer
