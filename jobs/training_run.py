"""What both training commands share: a spec from YAML, the processes, a progress line."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import BaseModel, ValidationError
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from torch import distributed

from jobs.spec_kinds import refuse_other_kind
from pipeline.spec_file import apply_override, explain, read_yaml
from schemas.errors import EngineMissingError, SpecError

SpecType = TypeVar("SpecType", bound=BaseModel)


def load_spec(path: Path, overrides: list[str] | None, kind: type[SpecType]) -> SpecType:
    """The spec in `path` with `key.path=value` overrides; raises `SpecError` with one line."""
    try:
        raw = read_yaml(path)
        for override in overrides or []:
            apply_override(raw, override)
        return kind.model_validate(raw)
    except ValidationError as error:
        refuse_other_kind(path, kind)
        raise SpecError(f"{path}: {explain(error, kind)}") from error
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error


def check_device(device: str) -> None:
    """Raises `EngineMissingError` for a GPU that is not there."""
    if device == "cuda" and not torch.cuda.is_available():
        raise EngineMissingError(
            "run.device is cuda, and torch finds none here; put run.device=cpu on the command line"
        )


@contextmanager
def processes(device: str) -> Iterator[int]:
    """This process's rank; joins the others where `torchrun` started several."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or distributed.is_initialized():  # Ray Train has joined them already
        yield distributed.get_rank() if distributed.is_initialized() else 0
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    # The others wait while the first reads all audio. Checkpoints are exchanged over the CPU.
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=timedelta(hours=12))
    try:
        yield distributed.get_rank()
    finally:
        distributed.destroy_process_group()


def training_progress(rank: int) -> Progress:
    """A line with steps, time left and the field `loss`; the first process shows it."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
        disable=rank != 0,
    )
