"""The training of `audiomill train` in workers of Ray Train, on this machine or on a cluster."""

import json
import logging
import os
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import ray
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError
from rich.progress import Progress, TaskID

from jobs.train_command import RAY_FOLDER, load_train_spec, train
from jobs.training_run import training_progress
from pipeline.private_ray import check_guarded
from pipeline.quiet import QUIET_ENVIRONMENT
from pipeline.ray_cluster import start_ray
from schemas.errors import AudiomillError, PlanError
from tokenizer.training.journal import LOG
from tokenizer.training.processes import STOP, interrupts

_TAIL_BYTES = 65_536
"""Of a log that grows for weeks; a line has some hundred bytes."""


def train_on_ray(
    path: Path, overrides: list[str] | None, workers: int, address: str | None
) -> Path:
    """Runs `train` in so many workers, each with a GPU where the run wants one.

    The spec and all that it names must be reachable under the same paths on every node. What stops
    a worker stops the run, and what it said is raised here; the same command goes on from the last
    checkpoint. An interrupt lets the workers end their step and save, then raises
    `KeyboardInterrupt`; a second one does not wait for them.
    """
    spec = load_train_spec(path, overrides)
    on_gpu = spec.run.device == "cuda"
    folder, absolute = Path.cwd(), path.absolute()

    def one_worker() -> None:
        os.chdir(folder)  # Ray starts workers elsewhere; a spec's paths are relative to here
        with suppress(KeyboardInterrupt):  # saved; who asked for it knows
            train(absolute, overrides)

    os.environ.update(QUIET_ENVIRONMENT)
    logging.getLogger("ray").setLevel(logging.ERROR)
    _reach_ray(address, workers, on_gpu)
    try:
        with _progress_of(Path(spec.output) / LOG, spec.steps):
            trainer = TorchTrainer(
                one_worker,
                torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if on_gpu else "gloo"),
                scaling_config=ScalingConfig(num_workers=workers, use_gpu=on_gpu),
                run_config=RunConfig(storage_path=str(Path(spec.output).absolute() / RAY_FOLDER)),
            )
            _fit(trainer, Path(spec.output) / STOP)
    except TrainingFailedError as error:
        for failure in getattr(error, "worker_failures", {}).values():
            if said := _ours(failure):
                raise said from error
        raise
    finally:
        ray.shutdown()
    return Path(spec.output) / "model"


def _fit(trainer: TorchTrainer, stop: Path) -> None:
    """Ray Train would end its workers at once on Ctrl-C, and on the main thread alone; here they
    are asked by the file `stop` to save first."""
    ended: Future[None] = Future()

    def fit() -> None:
        try:
            trainer.fit()
        except BaseException as error:  # noqa: BLE001  (raised again by whoever waits)
            ended.set_exception(error)
        else:
            ended.set_result(None)

    stop.unlink(missing_ok=True)  # of a driver that was killed
    with interrupts() as asked:
        Thread(target=fit, daemon=True).start()
        while not ended.done() and not asked.is_set():
            wait([ended], timeout=0.2)
    if not asked.is_set():
        ended.result()
        return
    stop.parent.mkdir(parents=True, exist_ok=True)
    stop.touch()
    try:
        ended.result()
    finally:
        stop.unlink(missing_ok=True)
    raise KeyboardInterrupt


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
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            last = json.loads(file.read().splitlines()[-1])
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
