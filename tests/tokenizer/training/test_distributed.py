"""Two processes train one tokenizer: shared gradients, shared codebooks, one result."""

from pathlib import Path

import torch
from torch import distributed, multiprocessing

from tests.tokenizer.training.conftest import MakeSpec
from tokenizer.training.checkpoints import Checkpoints
from tokenizer.training.clips import ClipStore
from tokenizer.training.optimization import average_gradients
from tokenizer.training.spec import TrainSpec
from tokenizer.training.trainer import Trainer


def join(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )


def train(rank: int, folder: Path, clips: Path, spec: TrainSpec) -> None:
    join(rank, folder)
    trainer = Trainer(spec, ClipStore(clips))
    trainer.run()
    torch.save(trainer.model.state_dict(), folder / f"rank{rank}.pt")
    distributed.destroy_process_group()


def average(rank: int, folder: Path) -> None:
    join(rank, folder)
    parts = [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1, 3))]
    for part in parts:
        part.grad = torch.full_like(part, float(rank + 1))
    average_gradients(parts)
    assert all(bool((part.grad == 1.5).all()) for part in parts if part.grad is not None)
    distributed.destroy_process_group()


def test_processes_end_with_the_same_weights_and_codebooks(
    make_spec: MakeSpec, store: ClipStore, tmp_path: Path
) -> None:
    confined = {"stage1.codebooks.dims": [3], "stage1.weights": {"clip_information": 0.1}}
    spec = make_spec({"stage1.steps": 3, "stage2.steps": 2, **confined})
    arguments = (tmp_path, store.folder, spec)
    multiprocessing.start_processes(train, arguments, nprocs=2, start_method="spawn")
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2))
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
    entries = first["encoder.quantizer.vq.layers.0._codebook.embed"]
    assert int(torch.linalg.matrix_rank(entries - entries.mean(dim=0), rtol=1e-4)) == 3
    found = Checkpoints(Path(spec.output) / "checkpoints", keep=2).latest()
    assert found is not None
    assert found[:2] == ("stage2", 2)
    assert (Path(spec.output) / "tokenizer" / "model.safetensors").is_file()


def test_gradients_are_averaged_over_processes(tmp_path: Path) -> None:
    multiprocessing.start_processes(average, (tmp_path,), nprocs=2, start_method="spawn")
