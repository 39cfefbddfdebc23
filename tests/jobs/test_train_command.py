"""`audiomill train` on committed shards: it learns, stops, goes on, and refuses what is spoiled."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from safetensors.torch import load_file

from jobs.cli import main
from jobs.train_command import open_loader, open_model
from jobs.training_run import load_spec
from model.training.shard_steps import ShardSteps
from model.training.spec import TrainSpec
from model.training.trainer import Trainer
from schemas.errors import OutputError
from tests.jobs.made_output import make_output

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "jobs" / "pretrain-tiny.yaml"
_MOUNTS = ("-m",) if os.geteuid() == 0 else ("-Urm",)
"""What gives a process mounts of its own; root needs no user namespace for it."""


def arguments(out: Path, target: Path, *more: str) -> list[str]:
    tasks = "{interleaved: 1, asr_document: 1, spoken_dialogue: 1, caption: 1}"
    return [
        str(SPEC),
        f"data.sources=[{{uri: {out}, tasks: {tasks}}}]",
        "data.context_groups=128",
        "steps=16",
        "run.sequences_per_pass=2",
        "run.log_every=8",
        "run.checkpoint_every=5",
        f"output={target}",
        *more,
    ]


def losses_of(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_output(tmp_path_factory.mktemp("job") / "out")


@pytest.fixture(scope="module")
def whole(out: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    assert main(["train", *arguments(out, folder)]) == 0
    return folder


def test_it_learns_and_says_what_it_found(
    out: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    losses = losses_of(whole)
    assert len(losses) == 16
    assert losses[-1] < 0.8 * losses[0]
    assert main(["train", *arguments(out, whole)]) == 0  # done already: says so, changes nothing
    said = capsys.readouterr().out
    assert "48 rows" in said
    assert str(whole / "model") in said
    assert losses_of(whole) == losses


def test_killed_three_times_it_has_the_curve_of_a_run_that_was_not(
    out: Path, whole: Path, tmp_path: Path
) -> None:
    """SIGKILL at any moment; the log and the weights end as if nothing had been."""
    target = tmp_path / "killed"
    command = [sys.executable, "-m", "jobs.cli", "train", *arguments(out, target)]
    for step in (3, 7, 12):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        while process.poll() is None and not _has_logged(target, step):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert main(["train", *arguments(out, target)]) == 0
    assert losses_of(target) == losses_of(whole)
    ended = load_file(target / "model" / "model.safetensors")
    wanted = load_file(whole / "model" / "model.safetensors")
    assert all(bool((ended[name] == tensor).all()) for name, tensor in wanted.items())


def _has_logged(folder: Path, step: int) -> bool:
    path = folder / "log.jsonl"
    return path.exists() and f'"step": {step},' in path.read_text()


def test_a_truncated_shard_is_named_and_the_last_checkpoint_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, target = make_output(tmp_path / "out"), tmp_path / "run"
    assert main(["train", *arguments(out, target, "steps=5")]) == 0
    (shard, *_) = sorted((out / "shards").glob("*.parquet"))
    os.truncate(shard, shard.stat().st_size // 2)
    again = arguments(out, tmp_path / "other", "steps=5")
    assert main(["train", *again]) == 2
    assert shard.name in capsys.readouterr().err
    assert list((target / "checkpoints").glob("step-*"))


def test_a_shard_that_breaks_during_a_run_costs_no_step_that_passed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The checkpoint that is still being written then is finished; the shard back, it goes on."""
    out, target = make_output(tmp_path / "out"), tmp_path / "run"
    changes = ("run.checkpoint_every=1", "run.steps_ahead=0", "data.window_groups=1")
    asked = arguments(out, target, *changes)
    kept = {shard: shard.read_bytes() for shard in (out / "shards").glob("*.parquet")}
    spec = load_spec(SPEC, asked[1:], TrainSpec)
    model, text = open_model(spec.model, spec.seed)
    loader = open_loader(spec, model, text)
    model.audio_tokenizer = loader.tokenizer
    passed = []

    def spoil(done: int, total: int, figures: Mapping[str, float]) -> None:
        passed.append(done)
        if done == 2:
            for shard in kept:
                os.truncate(shard, 100)  # the rows are at its start

    with pytest.raises(OutputError, match=r"shard-\d+.*parquet"):
        Trainer(spec, model, ShardSteps(loader, ahead=0), text).run(spoil)
    assert 2 <= len(passed) < 16
    newest = max((target / "checkpoints").iterdir())
    assert newest.name == f"step-{len(passed):010d}"
    losses = losses_of(target)
    assert len(losses) == len(passed)
    for shard, content in kept.items():
        shard.write_bytes(content)
    assert main(["train", *arguments(out, target, *changes[1:])]) == 0
    assert len(losses_of(target)) == 16
    assert losses_of(target)[: len(losses)] == losses


@pytest.mark.parametrize("kilobytes", [36, 3000])
def test_a_disk_that_is_really_full_is_one_line(out: Path, tmp_path: Path, kilobytes: int) -> None:
    """Full for the scalars, full for the first checkpoint: whatever writes next has no room."""
    if subprocess.run(["unshare", *_MOUNTS, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespace can be made here")
    disk = tmp_path / "disk"
    disk.mkdir()
    command = [sys.executable, "-m", "jobs.cli", "train", *arguments(out, disk / "run")]
    script = f'mount -t tmpfs -o size={kilobytes}k none "$0" && exec "$@"'
    ended = subprocess.run(
        ["unshare", *_MOUNTS, "sh", "-c", script, str(disk), *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert "No space left on device" in line
    assert "Make room" in line


def test_another_spec_is_refused_by_name(
    out: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *arguments(out, whole, "seed=1")]) == 2
    assert "seed" in capsys.readouterr().err
    assert main(["train", *arguments(out, whole, "data.context_groups=256")]) == 2
    assert "data.context_groups" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("data.sources=[{uri: nowhere, tasks: {asr: 1}}]", "nowhere"),
        ("data.context_groups=4096", "the model's context is 2048"),
        ("run.device=cuda", "put run.device=cpu"),
        ("steps=0", "steps"),
        ("model={size: tiny, folder: x}", "one of folder, size and config"),
    ],
)
def test_what_cannot_run_is_one_line(
    out: Path, tmp_path: Path, change: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *arguments(out, tmp_path / "run", change)]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("more", [(), ("--ray-workers", "1")])
def test_a_folder_of_somebody_else_is_refused_and_stays_as_it_was(
    out: Path, tmp_path: Path, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "a.txt").write_text("mine")
    for target in (notes, out, notes / "a.txt"):
        before = sorted(target.rglob("*"))
        assert main(["train", *arguments(out, target), *more]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        wanted = "is no folder" if target.is_file() else "is not empty and holds no training"
        assert line == f"audiomill: output {str(target)!r} {wanted}; " + (
            "name another one" if target.is_file() else "name another folder"
        )
        assert sorted(target.rglob("*")) == before


def test_what_a_run_left_that_was_stopped_before_its_first_step_is_gone_on_with(
    out: Path, tmp_path: Path
) -> None:
    target = tmp_path / "run"
    for name in ("loader", "ray"):
        (target / name).mkdir(parents=True)
    (target / "spec.partial").write_text("{")
    assert main(["train", *arguments(out, target, "steps=1")]) == 0


def test_an_unknown_task_names_the_known_ones(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change = f"data.sources=[{{uri: {out}, tasks: {{asrr: 1}}}}]"
    assert main(["train", *arguments(out, tmp_path / "run", change)]) == 2
    assert "'asrr' is not known; there are asr, asr_document" in capsys.readouterr().err


def test_rows_that_serve_no_task_are_told_what_the_tasks_want(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = make_output(tmp_path / "out", num_shards=1, rows_per_shard=2, with_text=False)
    wanted = "tasks: {interleaved: 1, asr_document: 1, caption: 0}"
    change = f"data.sources=[{{uri: {silent}, {wanted}}}]"
    assert main(["train", *arguments(silent, tmp_path / "run", change)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"audiomill: {silent}: no row makes a sequence: 2 rows serve none of the tasks "
        "(interleaved and asr_document want speech and its text), 0 are longer than "
        "data.context_groups, 128; name tasks that fit the rows (speech_continuation wants no "
        "text), "
    )


def test_ranks_of_any_number_see_the_same_samples_in_the_same_order(
    out: Path, tmp_path: Path
) -> None:
    """Stopped with 1, 2 and 4 ranks and resumed with 2, 4 and 1: one order of segments."""
    spec = load_spec(SPEC, arguments(out, tmp_path / "run")[1:], TrainSpec)
    model, text = open_model(spec.model, spec.seed)
    loader = open_loader(spec, model, text)

    def ids(step: int, world: int) -> list[str]:
        batches = [loader.batch(step, rank=rank, world_size=world) for rank in range(world)]
        sequences = [sequence for batch in batches for sequence in batch.sequences]
        return [document.segment_id for one in sequences for document in one.documents]

    order = [ids(step, 1) for step in range(9)]
    for worlds in ((1, 2, 4), (2, 4, 1), (4, 1, 2)):
        fresh = open_loader(spec, model, text)
        assert fresh.digest == loader.digest
        assert [ids(step, worlds[step // 3]) for step in range(9)] == order
