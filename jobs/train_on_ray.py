"""The training of `audiomill train` in workers of Ray Train, on this machine or on a cluster."""

import logging
import os
from pathlib import Path

import ray
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from jobs.train_command import train
from jobs.training_run import load_spec
from model.training.spec import TrainSpec
from pipeline.private_ray import check_guarded
from pipeline.quiet import QUIET_ENVIRONMENT
from pipeline.ray_cluster import start_ray
from schemas.errors import PlanError


def train_on_ray(
    path: Path, overrides: list[str] | None, workers: int, address: str | None
) -> Path:
    """Runs `train` in so many workers, each with a GPU where the run wants one.

    The spec and all that it names must be reachable under the same paths on every node. What stops
    a worker stops the run; the same command goes on from the last checkpoint.
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
        TorchTrainer(
            one_worker,
            torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if on_gpu else "gloo"),
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=on_gpu),
            run_config=RunConfig(storage_path=str(Path(spec.output).absolute() / "ray")),
        ).fit()
    finally:
        ray.shutdown()
    return Path(spec.output) / "model"


def _reach_ray(address: str | None, workers: int, on_gpu: bool) -> None:
    if address is None:
        start_ray(num_cpus=workers + 1, num_gpus=workers if on_gpu else 0)
        return
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise PlanError(f"no Ray cluster answers at {address!r}: {error}") from error
    check_guarded(ray.get_runtime_context().gcs_address)
