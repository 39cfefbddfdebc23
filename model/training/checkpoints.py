"""Checkpoints by torch's distributed checkpoint, written while training goes on."""

import os
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import distributed, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from schemas.errors import StorageError, TrainingError
from tokenizer.training.plain_reader import PlainPlanner, PlainReader

# Torch says so of a process that saves alone although it was told to, and from its writing thread.
warnings.filterwarnings("ignore", message="torch.distributed is disabled")

_NAME = re.compile(r"step-(?P<step>\d{10})")


class Checkpoints:
    """The folder `OUT/checkpoints`. A checkpoint gets its name when all of it is on the disk, so
    what has a name is whole; any number of processes can read what any number wrote."""

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder, self._keep = folder, keep
        self._writing: tuple[Path, Future[Any]] | None = None
        # Its own connections: the writing thread must not take part in the training's exchanges.
        self._group = (
            distributed.new_group(backend="gloo") if distributed.is_initialized() else None
        )

    def save(
        self,
        step: int,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        progress: Mapping[str, Any],
    ) -> None:
        """All that the step after `step` steps depends on; copied at once, written in background.

        Waits for the checkpoint before it, and raises `StorageError` if that could not be written.
        """
        self.finish()
        target = self._folder / f"step-{step:010d}"
        partial = target.with_name(f"{target.name}.partial")
        if _is_first():
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        self._meet()
        state = _state(model, optimizer) | {"progress": dict(progress)}
        with self._disk_errors(partial):
            found = dcp.async_save(
                state,
                checkpoint_id=partial,
                process_group=self._group,
                no_dist=self._group is None,
            )
        if not isinstance(found, Future):  # torch's newer stager answers with two futures
            found = found.upload_completion
        self._writing = (target, found)

    def finish(self) -> None:
        """Waits until the last checkpoint has its name. Raises `StorageError` if it has failed."""
        if self._writing is None:
            return
        target, future = self._writing
        self._writing = None
        partial = target.with_name(f"{target.name}.partial")
        with self._disk_errors(partial):
            future.result()
        self._meet()
        self._name(target, partial)

    def finish_after_error(self) -> None:
        """As `finish`, by a process that an error has stopped: the checkpoint of a step that passed
        is kept, and the error under way stays the one that is told.

        It does not meet the others, who may be anywhere; that all have written, the first process
        knows from torch.
        """
        if self._writing is None:
            return
        target, future = self._writing
        self._writing = None
        with suppress(Exception, CheckpointException):
            future.result()
            self._name(target, target.with_name(f"{target.name}.partial"))

    def _name(self, target: Path, partial: Path) -> None:
        if _is_first():
            shutil.rmtree(target, ignore_errors=True)
            os.rename(partial, target)
            for _, old in list(self._all())[: -self._keep]:
                shutil.rmtree(old)

    def latest(self) -> tuple[int, Path] | None:
        """Step and folder of the newest whole checkpoint."""
        return next(iter(reversed(list(self._all()))), None)

    def load(
        self,
        path: Path,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        progress: dict[str, Any],
    ) -> None:
        """Puts everything back in place, `progress` included; raises `TrainingError`."""
        state = _state(model, optimizer) | {"progress": progress}
        try:
            reader = PlainReader(path)
            reader.read_metadata()  # torch would say of a refusal only that there is nothing
            dcp.load(
                state,
                storage_reader=reader,
                planner=PlainPlanner(),
                no_dist=self._group is None,
            )
        except (Exception, CheckpointException) as error:
            raise TrainingError(
                f"{path} cannot be resumed from ({_innermost(error)}); remove this folder to go "
                "back to the checkpoint before it"
            ) from error
        progress.update(state["progress"])
        set_state_dict(
            model,
            optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
        )

    def _all(self) -> Iterator[tuple[int, Path]]:
        found = []
        for path in self._folder.glob("step-*"):
            named = _NAME.fullmatch(path.name)
            if named:
                found.append((int(named["step"]), path))
        yield from sorted(found)

    @contextmanager
    def _disk_errors(self, partial: Path) -> Iterator[None]:
        try:
            yield
        except (Exception, CheckpointException) as error:
            kept = self.latest()
            last = f"the last one is whole: {kept[1]}" if kept else "there is none yet"
            raise StorageError(
                f"checkpoint {partial} could not be written ({_innermost(error)}); {last}. Make "
                "room and run the same command again"
            ) from error

    def _meet(self) -> None:
        if self._group is not None:
            distributed.barrier(self._group)


def _state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    model_state, optimizer_state = get_state_dict(model, optimizer)
    return {"model": model_state, "optimizer": optimizer_state}


def _innermost(error: BaseException) -> str:
    """What was first said; torch wraps the words of the disk, of each process."""
    if isinstance(error, CheckpointException) and error.failures:
        error = next(iter(error.failures.values()))[0]
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return str(error).strip().split("\n")[0] or type(error).__name__


def _is_first() -> bool:
    return not distributed.is_initialized() or distributed.get_rank() == 0
