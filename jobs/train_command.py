"""`audiomill train SPEC`: shards in, a resumable training run of the language model out."""

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from torch import distributed

from jobs.training_run import check_device, load_spec, processes, training_progress
from model import MiMoAudio
from model.loader import Loader, LoaderSource, LoaderSpec
from model.small import medium_spec, small_spec, tiny_spec, untrained_model
from model.spec import ModelSpec
from model.tasks import Example, Tasks
from model.text import TextTokenizer
from model.training.shard_steps import ShardSteps
from model.training.spec import ModelSource, TrainSpec
from model.training.task_sample import TaskSample
from model.training.trainer import Trainer
from model.wording import Wording
from schemas.errors import SpecError
from tokenizer.training.claim import require_free
from tokenizer.training.journal import LOG
from tokenizer.training.processes import STOP

CACHE = "loader"
RAY_FOLDER = "ray"
_SIZES = {"tiny": tiny_spec, "small": small_spec, "medium": medium_spec}


def train(path: Path, overrides: list[str] | None = None) -> Path:
    """Trains to the end, from where an earlier run stopped; returns the model's folder.

    Under `torchrun`, or in a worker of Ray Train, every process takes its share of each step.
    """
    spec = load_train_spec(path, overrides)
    check_device(spec.run.device)
    with processes(spec.run.device) as rank:
        model, text = open_model(spec.model, spec.seed)
        loader = _loader_in_turn(spec, model, text, rank)
        model.audio_tokenizer = model.audio_tokenizer or loader.tokenizer
        if rank == 0:
            _say_what_is_there(spec, loader)
        steps = ShardSteps(loader, ahead=spec.run.steps_ahead)
        trainer = Trainer(spec, model, steps, text)
        with training_progress(rank) as progress:
            task = progress.add_task("training", total=spec.steps, loss="")

            def tell(done: int, total: int, figures: Mapping[str, float]) -> None:
                pace = figures["text_positions_per_s"] + figures["audio_positions_per_s"]
                said = f"loss {figures['loss']:.3f}, {pace:.0f} positions a second"
                progress.update(task, completed=done, total=total, loss=said)

            folder = trainer.run(tell)
        if rank == 0:
            _say_how_it_went(Path(spec.output) / LOG)
        return folder


def load_train_spec(path: Path, overrides: list[str] | None = None) -> TrainSpec:
    """The spec in `path` with overrides, its output a training's or free.

    Raises `SpecError` or `TrainingError` with one line, and touches nothing.
    """
    spec = load_spec(path, overrides, TrainSpec)
    require_free(Path(spec.output), (CACHE, RAY_FOLDER, STOP))
    return spec


def open_model(source: ModelSource, seed: int) -> tuple[MiMoAudio, TextTokenizer]:
    """Weights and text tokenizer: of a folder, or drawn from the seed."""
    texts = source.text_tokenizer or source.folder
    text = TextTokenizer.from_folder(texts) if texts else TextTokenizer.of_bytes()
    if source.folder is not None:
        return MiMoAudio.from_pretrained(source.folder, text.special), text
    if source.size is not None:
        return untrained_model(_SIZES[source.size](), seed, text.special), text
    return untrained_model(ModelSpec.read(Path(str(source.config))), seed, text.special), text


def open_loader(spec: TrainSpec, model: MiMoAudio, text: TextTokenizer) -> Loader[Example]:
    """The shards of the spec as sequences of task examples. Raises `SpecError` for none."""
    folder = spec.model.folder
    tasks = Tasks(
        text,
        empty_codes=model.spec.empty_codes,
        group_size=model.spec.group_size,
        wording=Wording.beside(folder) if folder else None,
    )
    data = spec.data
    if data.context_groups > model.spec.context_groups:
        raise SpecError(
            f"data.context_groups is {data.context_groups}, the model's context is "
            f"{model.spec.context_groups}; lower it"
        )
    sources = tuple(
        LoaderSource(
            uri=source.uri,
            sample=TaskSample(tasks=tasks, shares=source.tasks, seed=spec.seed),
            weight=source.weight,
            version=source.version,
        )
        for source in data.sources
    )
    loader_spec = LoaderSpec(
        sources=sources,
        context_length=data.context_groups,
        sequences_per_step=data.sequences_per_step,
        seed=spec.seed,
        window_groups=data.window_groups,
    )
    return Loader(loader_spec, Path(spec.output) / CACHE, tokenizer=model.audio_tokenizer)


def _loader_in_turn(
    spec: TrainSpec, model: MiMoAudio, text: TextTokenizer, rank: int
) -> Loader[Example]:
    """The first process counts the samples; the others find what it has noted."""
    loader = open_loader(spec, model, text) if rank == 0 else None
    if distributed.is_initialized():
        distributed.barrier()
    return loader or open_loader(spec, model, text)


def _say_what_is_there(spec: TrainSpec, loader: Loader[Example]) -> None:
    for number, source in enumerate(spec.data.sources):
        counted = loader.counted(number)
        rows = counted.num_samples + counted.num_left_out + counted.num_none
        sequences, used = loader.sequences_of(number), loader.positions_of(number)
        share = used / (sequences * spec.data.context_groups) if sequences else 0.0
        print(
            f"{source.uri}: {rows} rows = {counted.num_samples} samples + {counted.num_left_out} "
            f"longer than the context + {counted.num_none} that serve no task; an epoch is "
            f"{sequences} sequences, {share:.1%} full"
        )


def _say_how_it_went(log: Path) -> None:
    losses = [json.loads(line)["loss"] for line in log.read_text(encoding="utf-8").splitlines()]
    edge = max(1, len(losses) // 10)
    print(
        f"loss over {len(losses)} steps: {fmean(losses[:edge]):.3f} in the first {edge}, "
        f"{fmean(losses[-edge:]):.3f} in the last {edge}"
    )
