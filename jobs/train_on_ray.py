"""The training of `audiomill train` in workers of Ray Train, on this machine or on a cluster."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import ray
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError
from rich.progress import Progress, TaskID

from jobs.train_command import train
from jobs.training_run import load_spec, training_progress
from model.training.spec import TrainSpec
from pipeline.private_ray import check_guarded
from pipeline.quiet import QUIET_ENVIRONMENT
from pipeline.ray_cluster import start_ray
from schemas.errors import AudiomillError, PlanError
from tokenizer.training.journal import LOG


def train_on_ray(
    path: Path, overrides: list[str] | None, workers: int, address: str | None
) -> Path:
    """Runs `train` in so many workers, each with a GPU where the run wants one.

    The spec and all that it names must be reachable under the same paths on every node. What stops
    a worker stops the run, and what it said is raised here; the same command goes on from the last
    checkpoint.
    """
    spec = load_spec(path, overrides, TrainSpec)
    on_gpu = spec.run.device == "cuda"
    folder, absolute = Path.cwd(), path.absolute()

    def one_worker() -> None:
        os.chdir(folder)  # Ray starts workers elsewhere; a spec's paths are relative to here
        train(absolute, overrides)

    os.environ.update(QUIET_ENVIRONMENT)
    logging.getLogger("ray").setLevel(logging.ERROR)
    _reach_ray(address, workers, on_gpu)
    try:
        with _progress_of(Path(spec.output) / LOG, spec.steps):
            TorchTrainer(
                one_worker,
                torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if on_gpu else "gloo"),
                scaling_config=ScalingConfig(num_workers=workers, use_gpu=on_gpu),
                run_config=RunConfig(storage_path=str(Path(spec.output).absolute() / "ray")),
            ).fit()
    except TrainingFailedError as error:
        for failure in getattr(error, "worker_failures", {}).values():
            if said := _ours(failure):
                raise said from error
        raise
    finally:
        ray.shutdown()
    return Path(spec.output) / "model"


def _ours(failure: BaseException | None) -> AudiomillError | None:
    """The error of ours that a worker ended with, out of what Ray wrapped it in."""
    while failure is not None and not isinstance(failure, AudiomillError):
        failure = getattr(failure, "cause", None) or failure.__cause__
    return failure


@contextmanager
def _progress_of(log: Path, total: int) -> Iterator[None]:
    """Shows what the first worker notes, wherever it runs, in a line here."""
    over = Event()

    def follow() -> None:
        while not over.wait(1.0):
            _tell(progress, task, log)

    with training_progress(0) as progress:
        task = progress.add_task("training", total=total, loss="workers start")
        thread = Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            _tell(progress, task, log)


def _tell(progress: Progress, task: TaskID, log: Path) -> None:
    try:
        lines = log.read_text(encoding="utf-8").splitlines()
        last = json.loads(lines[-1])
    except (OSError, IndexError, ValueError):
        return  # nothing yet, or a line that is just being written
    progress.update(task, completed=last["step"] + 1, loss=f"loss {last['loss']:.3f}")


def _reach_ray(address: str | None, workers: int, on_gpu: bool) -> None:
    if address is None:
        start_ray(num_cpus=workers + 1, num_gpus=workers if on_gpu else 0)
        return
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise PlanError(f"no Ray cluster answers at {address!r}: {error}") from error
    check_guarded(ray.get_runtime_context().gcs_address)
