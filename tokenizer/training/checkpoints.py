"""Checkpoints of a training run, by torch's distributed checkpoint: whole, or not there."""

import os
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import distributed, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from schemas.errors import TrainingError
from tokenizer.training.optimization import Optimization
from tokenizer.training.plain_reader import PlainPlanner, PlainReader

_NAME = re.compile(r"(?P<stage>stage[12])-(?P<step>\d{8})")


class Checkpoints:
    """The folder `OUT/checkpoints`, newest last."""

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder, self._keep = folder, keep

    def save(
        self,
        stage: str,
        step: int,
        modules: Mapping[str, nn.Module],
        optimizations: Mapping[str, Optimization],
        progress: Mapping[str, Any],
    ) -> Path:
        """Everything that the next step depends on, after `step` steps of a stage."""
        target = self._folder / f"{stage}-{step:08d}"
        partial = target.with_name(target.name + ".partial")
        if _is_first():
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        _meet()
        state = _state(modules, optimizations) | {"progress": dict(progress)}
        with _alone_quietly() as no_dist:
            dcp.save(state, checkpoint_id=partial, no_dist=no_dist)
        _meet()
        if _is_first():
            shutil.rmtree(target, ignore_errors=True)
            os.rename(partial, target)
            for _, old in list(self._all())[: -self._keep]:
                shutil.rmtree(old)
        return target

    def latest(self) -> tuple[str, int, Path] | None:
        """Stage, step and folder of the newest whole checkpoint."""
        found = list(self._all())
        if not found:
            return None
        (stage, step), path = found[-1]
        return stage, step, path

    def load(
        self,
        path: Path,
        modules: Mapping[str, nn.Module],
        optimizations: Mapping[str, Optimization],
        progress: dict[str, Any],
    ) -> None:
        """Put everything back in place, `progress` included; raises `TrainingError`."""
        state = _state(modules, optimizations) | {"progress": progress}
        try:
            reader = PlainReader(path)
            reader.read_metadata()  # torch would say of a refusal only that there is nothing
            with _alone_quietly() as no_dist:
                dcp.load(
                    state,
                    storage_reader=reader,
                    planner=PlainPlanner(),
                    no_dist=no_dist,
                )
        except (Exception, CheckpointException) as error:  # not an Exception in torch
            raise TrainingError(
                f"{path} cannot be resumed from ({error}); remove this folder to go back to the "
                "checkpoint before it"
            ) from error
        progress.update(state["progress"])
        for name, module in modules.items():
            module.load_state_dict(state[name])
        for name, optimization in optimizations.items():
            saved = state[f"optimized/{name}"]
            set_state_dict(
                optimization.module,
                optimization.optimizer,
                model_state_dict=saved["module"],
                optim_state_dict=saved["optimizer"],
            )

    def _all(self) -> Iterator[tuple[tuple[str, int], Path]]:
        found = []
        for path in self._folder.glob("stage*"):
            named = _NAME.fullmatch(path.name)
            if named:
                found.append(((named["stage"], int(named["step"])), path))
        yield from sorted(found)


def _state(
    modules: Mapping[str, nn.Module], optimizations: Mapping[str, Optimization]
) -> dict[str, Any]:
    state: dict[str, Any] = {name: module.state_dict() for name, module in modules.items()}
    for name, optimization in optimizations.items():
        module_state, optimizer_state = get_state_dict(optimization.module, optimization.optimizer)
        state[f"optimized/{name}"] = {"module": module_state, "optimizer": optimizer_state}
    return state


@contextmanager
def _alone_quietly() -> Iterator[bool]:
    """Whether this process saves alone; torch would warn of that although it was told so."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield not distributed.is_initialized()


def _is_first() -> bool:
    return not distributed.is_initialized() or distributed.get_rank() == 0


def _meet() -> None:
    if distributed.is_initialized():
        distributed.barrier()
    elif torch.cuda.is_available():
        torch.cuda.synchronize()
