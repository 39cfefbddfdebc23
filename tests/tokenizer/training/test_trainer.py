"""`tokenizer/training/trainer.py`: whole runs of a tiny network, stopped, resumed, spoiled."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from schemas.errors import TrainingError
from tests.tokenizer.training.conftest import TINY_MODEL, MakeSpec
from tokenizer import Tokenizer
from tokenizer.training.clips import ClipStore
from tokenizer.training.spec import TrainSpec
from tokenizer.training.trainer import Trainer


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def run(spec: TrainSpec, store: ClipStore, stop_at: int | None = None) -> Path:
    def interrupt(done: int, total: int, figures: object) -> None:
        if done == stop_at:
            os.kill(os.getpid(), signal.SIGINT)

    return Trainer(spec, store).run(interrupt)


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_run_gives_a_tokenizer_curves_sounds_and_figures(
    make_spec: MakeSpec, store: ClipStore, tmp_path: Path
) -> None:
    spec = make_spec()
    tokenizer = Tokenizer.from_pretrained(run(spec, store))
    assert tokenizer.trained
    (codes,) = tokenizer.encode([torch.from_numpy(store.waveform(0))], 3)
    assert torch.isfinite(tokenizer.decode([codes])[0]).all()
    out = Path(spec.output)
    assert (out / "curves.png").stat().st_size > 1000
    assert list((out / "tensorboard").iterdir())
    assert len(list((out / "samples" / "step-00000010").glob("*-decoded.wav"))) == 2
    first = lines_of(out)[0]
    for name in ("loss/reconstruction", "loss/commitment", "loss/audio_to_text", "use/0", "dead/2"):
        assert name in first
    assert {"perplexity/1", "gradient/tokenizer.encoder.layers.1", "audio_s_per_s"} <= first.keys()
    (last, *_) = [line for line in lines_of(out) if line["stage"] == "stage2"]
    assert {"loss/adversarial", "loss/feature_matching", "loss/discriminator"} <= last.keys()


@pytest.mark.parametrize("stop_at", [2, 6, 8])
def test_stopped_and_resumed_it_ends_with_the_same_weights_to_the_bit(
    make_spec: MakeSpec, store: ClipStore, tmp_path: Path, stop_at: int
) -> None:
    whole = weights_of(run(make_spec(), store))
    spec = make_spec({"output": str(tmp_path / "stopped")})
    with pytest.raises(KeyboardInterrupt):
        run(spec, store, stop_at)
    resumed = weights_of(run(spec, store))
    assert whole.keys() == resumed.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name
    steps = [line["step"] for line in lines_of(tmp_path / "stopped") if line["stage"] != "held_out"]
    assert steps == sorted(set(steps))


TINY_ONE = TINY_MODEL | {"threshold_ema_dead_code": 0.0}
CONFINED = {"stage1.codebooks.dims": [3, 2], "stage1.weights": {"clip_information": 0.5}}


def test_a_run_with_confined_codebooks_goes_on_to_the_bit(
    make_spec: MakeSpec, store: ClipStore, tmp_path: Path
) -> None:
    whole = weights_of(run(make_spec(CONFINED), store))
    first = lines_of(tmp_path / "run")[0]
    assert {"loss/clip_information/0", "loss/clip_information/1"} <= first.keys()
    spec = make_spec({**CONFINED, "output": str(tmp_path / "stopped")})
    with pytest.raises(KeyboardInterrupt):
        run(spec, store, stop_at=2)
    resumed = weights_of(run(spec, store))
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())
    for book, rank in enumerate((3, 2)):
        entries = whole[f"encoder.quantizer.vq.layers.{book}._codebook.embed"]
        moved = entries - entries.mean(dim=0)
        assert int(torch.linalg.matrix_rank(moved, rtol=1e-4)) == rank


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stage1.codebooks.dims": [3] * 9}, "dims has 9 for"),
        ({"stage1.codebooks.dims": [0]}, "dims has 0 for a codebook of 32 entries"),
        ({"stage1.codebooks.dims": [2, 2, 16]}, "dims has 16 for a codebook of 16 .*1 to 15"),
        ({"stage1.weights": {"clip_information": 0.5}}, r"set stage1\.codebooks\.dims, e\.g\."),
    ],
)
def test_what_cannot_be_confined_is_refused(
    make_spec: MakeSpec, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_spec(changes)


def test_a_clip_alone_is_compared_with_nothing_and_refused(
    make_spec: MakeSpec, store: ClipStore
) -> None:
    with pytest.raises(TrainingError, match="1 share the 1 of clips_per_step; wanted 2 or more"):
        Trainer(make_spec({**CONFINED, "clips_per_step": 1, "model": TINY_ONE}), store)


def test_stage_two_leaves_encoder_and_codebooks_alone(
    make_spec: MakeSpec, store: ClipStore, tmp_path: Path
) -> None:
    after_one = weights_of(run(make_spec({"stage2.steps": 0}), store))
    after_two = weights_of(run(make_spec({"output": str(tmp_path / "two")}), store))
    changed = {name for name in after_one if not torch.equal(after_one[name], after_two[name])}
    assert changed
    assert all(name.startswith("decoder.") for name in changed)


def test_another_spec_or_other_data_are_refused_by_name(
    make_spec: MakeSpec, store: ClipStore
) -> None:
    run(make_spec(), store)
    with pytest.raises(TrainingError, match=r"stage1\.optimizer\.learning_rate differs"):
        run(make_spec({"stage1.optimizer": {"learning_rate": 1e-3, "warmup_steps": 2}}), store)
    run(make_spec({"run.log_every": 1}), store)  # how it runs may change


def test_a_diverging_run_stops_and_keeps_the_last_good_checkpoint(
    make_spec: MakeSpec, store: ClipStore
) -> None:
    spec = make_spec({"stage1.steps": 40, "run.checkpoint_every": 1, "max_loss_ratio": 1.02})
    wild = {"learning_rate": 0.9, "warmup_steps": 10, "max_grad_norm": 1e9}
    spec = spec.model_copy(
        update={
            "stage1": spec.stage1.model_copy(
                update={"optimizer": spec.stage1.optimizer.model_copy(update=wild)}
            )
        }
    )
    with pytest.raises(TrainingError, match=r"stage1 diverged at step \d+.* is .*stage1-\d+"):
        run(spec, store)
    assert list((Path(spec.output) / "checkpoints").glob("stage1-*"))


def test_codebooks_that_would_die_faster_than_they_are_chosen_are_refused(
    make_spec: MakeSpec, store: ClipStore
) -> None:
    spec = make_spec()
    model = spec.model | {"threshold_ema_dead_code": 3.0}
    with pytest.raises(TrainingError, match=r"threshold_ema_dead_code is 3\.0"):
        Trainer(spec.model_copy(update={"model": model}), store)


def test_a_trained_tokenizer_can_be_trained_further(
    make_spec: MakeSpec, store: ClipStore, tmp_path: Path
) -> None:
    first = run(make_spec(), store)
    spec = make_spec({"output": str(tmp_path / "further"), "start_from": str(first)})
    model, start = Trainer(spec, store).model, weights_of(first)
    for name, tensor in model.named_parameters():
        assert torch.equal(tensor, start[name]), name
        assert tensor.requires_grad
    second = run(spec, store)
    other_start = spec.model_copy(update={"start_from": str(second)})
    with pytest.raises(TrainingError, match="start_digest"):
        run(other_start, store)


def test_another_network_is_not_trained_further(
    make_spec: MakeSpec, store: ClipStore, tmp_path: Path
) -> None:
    first = run(make_spec(), store)
    spec = make_spec({"output": str(tmp_path / "further"), "start_from": str(first)})
    other = spec.model_copy(update={"model": spec.model | {"decoder_layers": 2}})
    with pytest.raises(TrainingError, match=r"model\.decoder_layers is 2 here and 1 there"):
        Trainer(other, store)
