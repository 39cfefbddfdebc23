"""`audiomill tokenizer train` on the demo corpus: it learns, codebooks live, it can be stopped."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from jobs.cli import main
from jobs.tokenizer_train import bring_clips, load_train_spec
from schemas.errors import SpecError
from tokenizer.training.clips import ClipStore
from tokenizer.training.trainer import Trainer

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "jobs" / "tokenizer-small.yaml"
STEPS = 160
LOSS_FALLS_TO = 0.55
"""Of the mean over the first twenty steps; seen 0.43."""
IN_USE = 0.9

TINY = [
    "model.d_model=64",
    "model.encoder_layers=2",
    "model.encoder_skip_layer_id=1",
    "model.encoder_attention_heads=2",
    "model.encoder_ffn_dim=128",
    "model.decoder_layers=1",
    "model.decoder_attention_heads=2",
    "model.decoder_ffn_dim=128",
    "model.vocoder_dim=64",
    "model.vocoder_num_layers=1",
    "model.vocoder_attention_heads=2",
    "model.vocoder_intermediate_dim=128",
    "model.num_quantizers=4",
    "model.codebook_size=[128, 128, 32, 32]",
    "model.threshold_ema_dead_code=0.5",
    "precision=float32",
    "stage1.text={width: 32, num_layers: 1, num_heads: 2}",
    "stage1.optimizer={learning_rate: 1.0e-3, warmup_steps: 20}",
    "stage1.codebooks={decay: 0.9}",
    "data.exclude=[]",
    "data.repeat={}",
    "data.backgrounds=null",
    "data.augment=null",
    "data.max_clip_s=1.5",
    "data.held_out=1",
    "run={loader_workers: 0, log_every: 20, checkpoint_every: 50, sample_every: 1000}",
    f"data.uri={ROOT / 'jobs' / 'demo' / 'corpus'}",
]


def test_a_minute_of_training_learns_and_may_be_stopped(tmp_path: Path) -> None:
    changes = [*TINY, f"stage1.steps={STEPS}", "stage2.steps=0"]
    spec = load_train_spec(SPEC, [*changes, f"output={tmp_path / 'whole'}"])
    bring_clips(spec, tmp_path / "clips")
    store = ClipStore(tmp_path / "clips")
    whole = load_file(Trainer(spec, store).run() / "model.safetensors")

    log = (tmp_path / "whole" / "log.jsonl").read_text().splitlines()
    lines = [line for line in map(json.loads, log) if line["stage"] == "stage1"]
    assert len(lines) == STEPS // 20
    assert all(torch.isfinite(tensor).all() for tensor in whole.values())
    first, last = lines[0], lines[-1]
    assert last["loss/reconstruction"] < LOSS_FALLS_TO * first["loss/reconstruction"]
    assert last["use/0"] >= IN_USE
    assert last["use/1"] >= IN_USE

    stopped = load_train_spec(SPEC, [*changes, f"output={tmp_path / 'stopped'}"])

    def interrupt(done: int, total: int, figures: object) -> None:
        if done == STEPS // 2 + 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        Trainer(stopped, store).run(interrupt)
    resumed = load_file(Trainer(stopped, store).run() / "model.safetensors")
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


def test_the_command_says_what_was_kept_and_names_the_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    changes = [*TINY, f"output={out}", "stage1.steps=2", "stage2.steps=1", "data.augment={}"]
    assert main(["tokenizer", "train", str(SPEC), *changes]) == 0
    said = capsys.readouterr().out
    assert "clips: 11 = 9 kept + 1 dropped + 1 failed" in said
    assert "failed: not-audio.wav" in said
    assert "dropped: silence.wav: silent" in said
    assert str(out / "tokenizer") in said
    assert main(["tokenizer", "train", str(SPEC), *changes, "seed=1"]) == 2
    assert "seed differs" in capsys.readouterr().err


def test_a_folder_of_somebody_else_is_refused_and_stays_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Recordings in a folder `clips` too, which is what a training calls its own."""
    recordings = tmp_path / "mine" / "clips"
    recordings.mkdir(parents=True)
    (recordings / "a.wav").write_bytes((ROOT / "jobs/demo/corpus/telephone.wav").read_bytes())
    changes = [*TINY, f"output={tmp_path / 'mine'}", "stage1.steps=1", "stage2.steps=0"]
    assert main(["tokenizer", "train", str(SPEC), *changes]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "mine' is not empty and holds no training; name another folder" in line
    assert [path.name for path in recordings.iterdir()] == ["a.wav"]
    assert list(recordings.parent.iterdir()) == [recordings]


def test_a_folder_of_nothing_usable_and_a_wrong_spec_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    speech = tmp_path / "speech"
    speech.mkdir()
    (speech / "a.wav").write_text("no audio at all")
    changes = [*TINY, f"output={tmp_path / 'out'}", f"data.uri={speech}"]
    assert main(["tokenizer", "train", str(SPEC), *changes]) == 2
    assert "none of 1 audio files can be trained on; the first, a.wav" in capsys.readouterr().err
    (speech / "b.wav").write_bytes((ROOT / "jobs/demo/corpus/telephone.wav").read_bytes())
    bring_clips(load_train_spec(SPEC, changes), tmp_path / "out" / "clips")
    assert len(ClipStore(tmp_path / "out" / "clips")) == 1
    with pytest.raises(SpecError, match=r"data\.augment|data: .*augment"):
        load_train_spec(SPEC, ["data.augment={noize: 1}"])
    with pytest.raises(SpecError, match=r"stage1\.stepz: unknown key"):
        load_train_spec(SPEC, ["stage1.stepz=3"])
    with pytest.raises(SpecError, match=r"clips_per_step: .*greater than or equal to 1"):
        load_train_spec(SPEC, ["clips_per_step=0"])
