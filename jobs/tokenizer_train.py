"""`audiomill tokenizer train SPEC`: prepares the clips once, then trains, with progress."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.progress import track
from torch import distributed

from jobs.audio_files import AudioReader
from jobs.tokenizer_command import relative_name
from jobs.training_run import check_device, load_spec, processes, training_progress
from pipeline.inputs import list_inputs
from schemas.codes import Waveform
from schemas.errors import ItemError, SpecError, TrainingError
from schemas.job import InputsSpec
from schemas.source import Source
from tokenizer.spec import TokenizerSpec
from tokenizer.training.claim import SPEC_FILE, require_free
from tokenizer.training.clips import ClipStore, ClipWriter
from tokenizer.training.spec import TrainSpec
from tokenizer.training.trainer import Backgrounds, Trainer

CLIPS = "clips"
_MAX_BACKGROUND_S = 60


def load_train_spec(path: Path, overrides: list[str] | None = None) -> TrainSpec:
    """The spec in `path` with overrides; raises `SpecError` with one line."""
    return load_spec(path, overrides, TrainSpec)


def train(path: Path, overrides: list[str] | None = None) -> Path:
    """Trains to the end, from where an earlier run stopped; returns the tokenizer's folder.

    Under `torchrun` every process takes its share of each step's clips.
    """
    spec = load_train_spec(path, overrides)
    check_device(spec.run.device)
    with processes(spec.run.device) as rank:
        folder = Path(spec.output) / CLIPS
        if rank == 0:
            require_free(folder.parent, _begun(folder))
            bring_clips(spec, folder)
        if distributed.is_initialized():
            distributed.barrier()
        store = ClipStore(folder)
        if rank == 0:
            _say_what_is_there(store)
        trainer = Trainer(spec, store, read_backgrounds(spec))
        with training_progress(rank) as progress:
            task = progress.add_task("training", total=trainer.total_steps, loss="")

            def tell(done: int, total: int, figures: Mapping[str, float]) -> None:
                progress.update(task, completed=done, total=total)
                if figures:
                    pace = f"{figures['audio_s_per_s']:.0f} s of audio a second"
                    loss = f"distance {figures['loss/reconstruction']:.3f}, {pace}"
                    progress.update(task, loss=loss)

            return trainer.run(tell)


def _begun(folder: Path) -> list[str]:
    """Names of what a training that was stopped early left; recordings called `clips` are none."""
    return [f"{CLIPS}.partial", *([CLIPS] if ClipStore.is_at(folder) else [])]


def bring_clips(spec: TrainSpec, folder: Path) -> None:
    """Prepares the clips unless they are there, made of the same files by the same settings.

    Clips that a run has already begun to train on are never replaced: `TrainingError`.
    """
    sources = list_inputs(
        InputsSpec(uri=spec.data.uri, exclude=spec.data.exclude), "data.uri"
    ).sources
    settings = spec.data.model_dump(include={"min_clip_s", "silence_dbfs"})
    listed = [(relative_name(item.uri, spec.data.uri), item.size_bytes) for item in sources]
    made_of = hashlib.sha256(json.dumps([settings, listed]).encode()).hexdigest()[:16]
    if ClipStore.is_at(folder):
        if ClipStore(folder).made_of == made_of:
            return
        if (folder.parent / SPEC_FILE).exists():
            raise TrainingError(
                f"{folder.parent} was begun with other audio: files of {spec.data.uri!r} or data."
                "min_clip_s or data.silence_dbfs changed since; put them back or name a new output"
            )
    prepare_clips(spec, folder, sources, made_of)


def prepare_clips(
    spec: TrainSpec, folder: Path, sources: Sequence[Source], made_of: str = ""
) -> None:
    """Decodes every file to the model's rate, once."""
    network = TokenizerSpec.from_config(spec.model, "model")
    reader = AudioReader(network.sample_rate_hz)
    writer = ClipWriter(
        folder,
        network.sample_rate_hz,
        silence_dbfs=spec.data.silence_dbfs,
        min_s=spec.data.min_clip_s,
        made_of=made_of,
    )
    with writer:
        for item in track(sources, description="reading audio"):
            try:
                waveform = reader.read(item)
            except ItemError as error:
                writer.fail(relative_name(item.uri, spec.data.uri), str(error))
                continue
            writer.add(relative_name(item.uri, spec.data.uri), waveform, _transcript(item.uri))


def read_backgrounds(spec: TrainSpec) -> Backgrounds:
    """Noise and music, at most a minute of each file; what cannot be read is an error."""
    if spec.data.backgrounds is None or spec.data.augment is None:
        return Backgrounds()
    rate_hz = TokenizerSpec.from_config(spec.model, "model").sample_rate_hz
    reader = AudioReader(rate_hz)
    clips: list[Waveform] = []
    for item in list_inputs(InputsSpec(uri=spec.data.backgrounds), "data.backgrounds").sources:
        try:
            waveform = reader.read(item)
        except ItemError as error:
            raise SpecError(
                f"data.backgrounds: {item.uri}: {error}; take it out of the folder"
            ) from error
        clip = np.asarray(waveform[: _MAX_BACKGROUND_S * rate_hz], dtype=np.float32)
        if not clip.any():
            raise SpecError(f"data.backgrounds: {item.uri} is silent; take it out of the folder")
        clips.append(clip)
    return Backgrounds(clips=tuple(clips))


def _transcript(uri: str) -> str | None:
    path = Path(uri).with_suffix(".txt")
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _say_what_is_there(store: ClipStore) -> None:
    counts: dict[str, int] = {}
    for row in store.rows:
        counts[row.outcome] = counts.get(row.outcome, 0) + 1
    told = " + ".join(
        f"{counts.get(outcome, 0)} {outcome}" for outcome in ("kept", "dropped", "failed")
    )
    print(f"clips: {len(store.rows)} = {told}; {store.audio_s / 3600:.2f} h of audio")
    left_out = [row for row in store.rows if row.outcome != "kept"]
    for row in left_out[:5]:
        print(f"  {row.outcome}: {row.name}: {row.reason}")
    if len(left_out) > 5:
        print(f"  and {len(left_out) - 5} more in clips/clips.parquet")
