"""Real processes: whoever stops a run and whoever resumes it, the order of samples is one."""

import json
import signal
from collections.abc import Generator, Mapping
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from benchmarks.made_output import commit_shards, made_rows
from model.loader import Batch, Loader, LoaderSource, LoaderSpec
from model.small import tiny_model
from model.tasks import Example, Tasks
from model.text import TextTokenizer
from model.training.shard_steps import ShardSteps
from model.training.task_sample import TaskSample
from model.training.trainer import Trainer
from tests.model.training.made_source import spec_of

RANKS, STEPS, SEQUENCES, CONTEXT = 4, 9, 4, 256
STOPS = (3, 6, STEPS)
CHAINS: Mapping[str, tuple[int, ...]] = {
    "undisturbed": (1,),
    "1-2-4": (1, 2, 4),
    "2-4-1": (2, 4, 1),
    "4-1-2": (4, 1, 2),
}
Order = dict[int, list[str]]
"""Segment ids of each step, over all ranks."""


class Noting(Loader[Example]):
    """Writes down which segments were handed out."""

    notes: Path

    def batches(
        self, first_step: int = 0, *, rank: int = 0, world_size: int = 1, ahead: int = 2
    ) -> Generator[Batch[Example], None, None]:
        ordinary = super().batches(first_step, rank=rank, world_size=world_size, ahead=ahead)
        with self.notes.open("a") as notes:
            for batch in ordinary:
                ids = [d.segment_id for sequence in batch.sequences for d in sequence.documents]
                print(json.dumps([batch.step, ids]), file=notes, flush=True)
                yield batch


def run_part(folder: Path, output: Path, rank: int, world: int, stop_at: int) -> None:
    """One rank of a run that goes on where it was, and is interrupted after step `stop_at`."""
    model, text = tiny_model(seed=0), TextTokenizer.of_bytes()
    tasks = Tasks(text, empty_codes=model.spec.empty_codes)
    sample = TaskSample(tasks=tasks, shares={"asr_document": 1, "interleaved": 1, "text": 1})
    loader = Noting(
        LoaderSpec(
            sources=(LoaderSource(uri=str(output), sample=sample),),
            context_length=CONTEXT,
            sequences_per_step=SEQUENCES,
            window_groups=3,
        ),
        folder / "loader",
    )
    loader.notes = folder / f"notes-{stop_at}-{rank}"
    spec = spec_of(folder / "out", {"steps": STEPS})
    trainer = Trainer(spec, model, ShardSteps(loader), text)

    def interrupt(done: int, total: int, figures: object) -> None:
        if done == stop_at != STEPS and rank == world - 1:
            signal.raise_signal(signal.SIGINT)

    try:
        trainer.run(interrupt)
        assert stop_at == STEPS
    except KeyboardInterrupt:
        assert stop_at != STEPS
    finally:
        loader.close()


def run_chains(rank: int, folder: Path, output: Path, barrier: Barrier) -> None:
    torch.set_num_threads(1)
    for name, worlds in CHAINS.items():
        for world, stop_at in zip(worlds, STOPS[-len(worlds) :], strict=True):
            if rank < world:
                meeting = f"file://{folder}/meeting-{name}-{stop_at}"
                if world > 1:
                    distributed.init_process_group(
                        "gloo", init_method=meeting, rank=rank, world_size=world
                    )
                run_part(folder / name, output, rank, world, stop_at)
                if world > 1:
                    distributed.destroy_process_group()
            barrier.wait(timeout=120)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All chains, run by the same four processes one after the other."""
    folder = tmp_path_factory.mktemp("runs")
    frames = (20 + row * 37 % 90 for row in range(120))
    commit_shards(folder / "output", made_rows(frames), rows_per_shard=50, rows_per_group=11)
    for name in CHAINS:
        (folder / name).mkdir()
    # Imports take longer than everything else here: a server does them once for all four.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "torch._dynamo"])
    arguments = (folder, folder / "output", context.Barrier(RANKS))
    multiprocessing.start_processes(run_chains, arguments, nprocs=RANKS, start_method="forkserver")
    return folder


def order_of(folder: Path, worlds: tuple[int, ...]) -> Order:
    """Put together from what each rank wrote down; no step twice."""
    found: Order = {}
    for world, stop_at in zip(worlds, STOPS[-len(worlds) :], strict=True):
        ranks = [
            dict(map(json.loads, (folder / f"notes-{stop_at}-{rank}").read_text().splitlines()))
            for rank in range(world)
        ]
        for step in ranks[0]:
            assert step not in found
            found[step] = [segment_id for of_rank in ranks for segment_id in of_rank[step]]
    return found


@pytest.mark.parametrize("name", CHAINS)
def test_the_order_of_samples_is_that_of_a_run_that_nothing_stopped(runs: Path, name: str) -> None:
    undisturbed = order_of(runs / "undisturbed", CHAINS["undisturbed"])
    assert list(undisturbed) == list(range(STEPS))
    assert sum(map(len, undisturbed.values())) > 3 * STEPS
    found = order_of(runs / name, CHAINS[name])
    assert found == undisturbed
    assert (runs / name / "out" / "model" / "model.safetensors").is_file()
    log = (runs / name / "out" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == list(range(STEPS))
