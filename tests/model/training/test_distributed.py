"""Several processes train one language model: the same losses as one, resumed by any number."""

import json
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from model.training.trainer import Trainer
from tests.model.training.made_source import parts, spec_of


def train(rank: int, world: int, folder: Path, steps: int, shard: bool) -> None:
    torch.set_num_threads(1)
    if world > 1:
        # A meeting place of its own for each start: an old one would answer with old members.
        meeting = f"file://{folder}/meeting-{world}-{steps}"
        distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world)
    run = {"sequences_per_pass": 1, "log_every": 4, "checkpoint_every": 4, "shard": shard}
    trainer = Trainer(spec_of(folder / "out", {"run": run}), *parts())

    class EnoughError(Exception):
        pass

    def stop(done: int, total: int, figures: object) -> None:
        if done > steps:
            raise EnoughError

    try:
        trainer.run(stop)
    except EnoughError:
        trainer._checkpoints.finish()  # what a process would have on its disk by then
    if world > 1:
        distributed.destroy_process_group()


def start(world: int, folder: Path, steps: int, *, shard: bool) -> None:
    folder.mkdir(exist_ok=True)
    if world == 1:
        train(0, 1, folder, steps, shard)
        return
    arguments = (world, folder, steps, shard)
    multiprocessing.start_processes(train, arguments, nprocs=world, start_method="spawn")


def losses_of(folder: Path) -> list[float]:
    lines = (folder / "out" / "log.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    folder = tmp_path_factory.mktemp("alone")
    start(1, folder, 99, shard=True)
    return losses_of(folder)


@pytest.mark.parametrize("shard", [True, False])
def test_two_processes_have_the_losses_of_one_and_one_goes_on_from_theirs(
    tmp_path: Path, alone: list[float], shard: bool
) -> None:
    start(2, tmp_path, 8, shard=shard)
    start(1, tmp_path, 99, shard=shard)
    assert losses_of(tmp_path) == pytest.approx(alone, rel=1e-4)
    assert (tmp_path / "out" / "model" / "model.safetensors").is_file()


def test_two_sharded_processes_go_on_from_one_and_save_the_whole_model(
    tmp_path: Path, alone: list[float]
) -> None:
    start(1, tmp_path, 4, shard=True)
    start(2, tmp_path, 99, shard=True)
    assert losses_of(tmp_path) == pytest.approx(alone, rel=1e-4)
    assert (tmp_path / "out" / "model" / "model.safetensors").is_file()
