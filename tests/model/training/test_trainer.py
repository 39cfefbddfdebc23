"""`model/training/trainer.py`: whole runs of a tiny model: learned, stopped, resumed, spoiled."""

import json
import os
import resource
import signal
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from model import MiMoAudio
from model.text import TextTokenizer
from model.training.spec import TrainSpec
from model.training.trainer import Trainer
from schemas.errors import StorageError, TrainingError
from tests.model.training.made_source import parts, spec_of
from tokenizer.training.journal import Journal


def run(spec: TrainSpec, stop_at: int | None = None) -> Path:
    def interrupt(done: int, total: int, figures: Mapping[str, float]) -> None:
        if done == stop_at:
            os.kill(os.getpid(), signal.SIGINT)

    return Trainer(spec, *parts()).run(interrupt)


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def losses_of(folder: Path) -> list[float]:
    return [line["loss"] for line in lines_of(folder)]


def test_a_run_learns_and_gives_a_model_curves_and_figures(tmp_path: Path) -> None:
    found = run(spec_of(tmp_path, {"steps": 40}))
    losses = losses_of(tmp_path)
    assert len(losses) == 40
    assert losses[-1] < 0.6 * losses[0]
    model = MiMoAudio.from_pretrained(found)
    assert TextTokenizer.from_folder(found).special == model.special_tokens
    line = lines_of(tmp_path)[-1]
    assert {"loss/text", "loss/7", "accuracy/text", "accuracy/0", "gradient"} <= line.keys()
    assert {"gradient/backbone", "gradient/patch_encoder", "text_positions_per_s"} <= line.keys()
    assert (tmp_path / "curves.png").stat().st_size > 1000
    assert list((tmp_path / "tensorboard").iterdir())


def test_stopped_three_times_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = load_file(run(spec_of(tmp_path / "whole")) / "model.safetensors")
    spec = spec_of(tmp_path / "stopped")
    for stop_at in (2, 5, 9):
        with pytest.raises(KeyboardInterrupt):
            run(spec, stop_at)
    resumed = load_file(run(spec) / "model.safetensors")
    assert whole.keys() == resumed.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name
    assert losses_of(tmp_path / "whole") == losses_of(tmp_path / "stopped")


def test_a_frozen_component_stays_and_text_alone_can_be_trained(tmp_path: Path) -> None:
    spec = spec_of(
        tmp_path,
        {
            "loss": {"text": 1.0, "channels": [0.0] * 8},
            "optimizer": {
                "learning_rates": {"patch_encoder": 1e-3, "backbone": 1e-3, "patch_decoder": 0.0}
            },
        },
    )
    before = parts()[0].state_dict()
    after = load_file(run(spec) / "model.safetensors")
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert not any(name.startswith("local_transformer") for name in changed)
    assert any(name.startswith("input_local_transformer") for name in changed)
    assert any(name.startswith("model.layers") for name in changed)


def test_another_spec_and_other_data_are_refused_by_name(tmp_path: Path) -> None:
    run(spec_of(tmp_path))
    with pytest.raises(TrainingError, match="seed differs"):
        run(spec_of(tmp_path, {"seed": 1}))
    model, source, text = parts()
    source.facts = {"manifest": "other"}
    with pytest.raises(TrainingError, match=r"batches\.manifest differs"):
        Trainer(spec_of(tmp_path), model, source, text).run()
    run(spec_of(tmp_path, {"run": {"log_every": 1}}))  # how it runs may change


def test_a_diverging_run_stops_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    wild = {"learning_rates": dict.fromkeys(("patch_encoder", "backbone", "patch_decoder"), 0.9)}
    spec = spec_of(
        tmp_path,
        {
            "steps": 60,
            "max_loss_ratio": 1.05,
            "optimizer": wild | {"max_grad_norm": 1e9, "warmup_ratio": 0.3},
            "run": {"checkpoint_every": 1},
        },
    )
    with pytest.raises(TrainingError, match=r"diverged at step \d+: the loss is .*step-\d+"):
        run(spec)
    assert list((tmp_path / "checkpoints").glob("step-*"))


def test_a_full_disk_is_named_and_the_last_checkpoint_stays(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(spec, stop_at=3)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails instead
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"step-0000000003.*Make room"):
            run(spec)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    whole = load_file(run(spec_of(tmp_path / "whole")) / "model.safetensors")
    resumed = load_file(run(spec) / "model.safetensors")
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


def test_a_disk_without_room_for_a_line_is_named_once(tmp_path: Path) -> None:
    """Log, scalars and picture are refused like the checkpoint, and hide nothing."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def fill(done: int, total: int, figures: Mapping[str, float]) -> None:
        if done == 5:  # the first checkpoint comes after it
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))

    try:
        with pytest.raises(StorageError, match=r"checkpoint .*step-0000000005.*Make room"):
            Trainer(spec_of(tmp_path, {"steps": 5}), *parts()).run(fill)
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        journal = Journal(tmp_path, 5)
        fill(5, 5, {})
        with pytest.raises(StorageError, match=r"log\.jsonl could not be written.*Make room"):
            journal.write(5, "train", {"loss": 1.0})
        with pytest.raises(StorageError, match="could not be written"), journal:
            pass  # nothing else went wrong, so what cannot be drawn is said
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert [line["step"] for line in lines_of(tmp_path)] == list(range(5)), "all lines are whole"
    run(spec_of(tmp_path, {"steps": 5}))
    assert len(losses_of(tmp_path)) == 5


def test_an_error_between_two_checkpoints_loses_no_step_that_passed(tmp_path: Path) -> None:
    often = {"sequences_per_pass": 2, "checkpoint_every": 1}

    def fail(done: int, total: int, figures: Mapping[str, float]) -> None:
        if done == 4:
            raise RuntimeError("as a bug would")

    with pytest.raises(RuntimeError, match="as a bug would"):
        Trainer(spec_of(tmp_path, {"run": often}), *parts()).run(fail)
    assert max((tmp_path / "checkpoints").iterdir()).name == "step-0000000003"
    whole = load_file(run(spec_of(tmp_path / "whole")) / "model.safetensors")
    resumed = load_file(run(spec_of(tmp_path)) / "model.safetensors")
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


def test_off_the_main_thread_a_file_stops_a_run(tmp_path: Path) -> None:
    spec, stop = spec_of(tmp_path), tmp_path / "stop"

    def ask(done: int, total: int, figures: Mapping[str, float]) -> None:
        if done == 3:
            stop.touch()

    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(Trainer(spec, *parts()).run, ask)
        assert isinstance(ended.exception(), KeyboardInterrupt)
    assert max((tmp_path / "checkpoints").iterdir()).name == "step-0000000003"


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")
def test_bfloat16_learns_and_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    half = {"precision": "bfloat16"}
    whole = run(spec_of(tmp_path / "whole", half))
    losses = losses_of(tmp_path / "whole")
    assert losses[-1] < 0.8 * losses[0]
    spec = spec_of(tmp_path / "stopped", half)
    with pytest.raises(KeyboardInterrupt):
        run(spec, 7)
    resumed = load_file(run(spec) / "model.safetensors")
    for name, tensor in load_file(whole / "model.safetensors").items():
        assert tensor.dtype == torch.float32, "autocast over float32 weights"
        assert torch.equal(tensor, resumed[name]), name
    run(spec_of(tmp_path / "float32", {"steps": 1}))
    exact = losses_of(tmp_path / "float32")[0]
    assert losses[0] != exact
    assert losses[0] == pytest.approx(exact, rel=0.02)


def test_clipping_bounds_what_a_step_changes(tmp_path: Path) -> None:
    """Gradients of norm 1e-9 are small beside the 1e-8 that AdamW adds to their size."""
    rates = dict.fromkeys(("patch_encoder", "backbone", "patch_decoder"), 0.003)
    options = {"learning_rates": rates, "warmup_ratio": 0.0, "weight_decay": 0.0}
    before = parts()[0].state_dict()
    largest = {}
    for norm in (1e9, 1e-9):
        spec = spec_of(
            tmp_path / str(norm),
            {"steps": 1, "optimizer": options | {"max_grad_norm": norm}},
        )
        after = load_file(run(spec) / "model.safetensors")
        largest[norm] = max(float((after[name] - before[name]).abs().max()) for name in before)
        assert lines_of(tmp_path / str(norm))[0]["gradient"] > 0.1, "the norm before clipping"
    assert largest[1e9] == pytest.approx(3e-3, rel=0.01), "a first step of AdamW is its rate"
    assert 0 < largest[1e-9] < 0.1 * 3e-3


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(spec, stop_at=3)
    (tmp_path / "checkpoints" / "step-0000000003" / ".metadata").write_bytes(b"x")
    with pytest.raises(TrainingError, match="cannot be resumed from"):
        run(spec)


def test_processes_must_divide_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.training.trainer.place", lambda: (0, 3))
    model, source, text = parts()
    with pytest.raises(TrainingError, match="wanted a multiple of the 3 processes"):
        Trainer(spec_of(tmp_path), model, source, text)


def test_checkpointed_activations_change_next_to_nothing(tmp_path: Path) -> None:
    run(spec_of(tmp_path / "plain", {"steps": 3}))
    setting = {"activation_checkpointing": True}
    run(spec_of(tmp_path / "other", {"steps": 3, "run": setting}))
    found = losses_of(tmp_path / "other")
    assert found == pytest.approx(losses_of(tmp_path / "plain"), rel=1e-5)
