"""How fast does the language model train, against the same model in a plain padded loop?

CPU, float32, all cores: the model, tasks, context and batch of `jobs/pretrain-tiny.yaml` on made
rows whose lengths are those of speech cut at pauses (log-normal, median 6 s, 1-30 s). The trainer
and the plain loop (`train_peer.py`) take turns, a step each on the same samples, both from weights
and optimizer of their own; the first step of each is not counted. `over_plain_loop` is the median
of the ratios of their seconds. The plain loop gets the batch size that is fastest for it, and both
get samples that are laid out already. OpenMP's threads wait asleep, for both: where anything else
runs, threads that spin make a step of so small a model take ten times as long (measured here).
`over_plain_loop_cpu` is the same ratio of CPU seconds. Positions a second count the samples' own
positions (a text byte or a group of 4 frames), padding never. `loss_difference` is the largest
between their losses in any step, relative: both do the same work.

GPU, bfloat16, where there is one: the trainer alone with a model of 1.2 B parameters, and
`gpu_mfu`, the share of the device's peak that its matrix products take (`model/training/pace.py`).

    python -m benchmarks.train --json [--short] [--repeats 3]
"""

import argparse
import copy
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import ROOT, options, report, timed
from benchmarks.made_output import commit_shards, made_rows
from benchmarks.train_peer import PlainLoop
from jobs.train_command import open_loader, open_model
from jobs.training_run import load_spec
from model import MiMoAudio, ModelSpec
from model.small import medium_spec, untrained_model
from model.tasks import Example
from model.text import TextTokenizer
from model.training.spec import TrainSpec
from model.training.trainer import Trainer

RECIPE = ROOT / "jobs" / "pretrain-tiny.yaml"
PLAIN_BATCHES = (4, 8, 16)
FRAMES_PER_S = 25
_MEDIAN_S, _SPREAD, _SHORTEST_S, _LONGEST_S = 6.0, 0.8, 1.0, 30.0
_STEPS_A_REPEAT = 4
Step = Sequence[Sequence[Example]]
Seconds = tuple[float, float]
"""Of the clock, and of the CPU on all threads."""


class Prepared:
    """Steps that are laid out already."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps
        self.facts: Mapping[str, Any] = {"manifest": "made"}

    def sequences(self, step: int, rank: int, world: int) -> Step:
        return self._steps[step]


def frames_of(count: int) -> Iterator[int]:
    """Frames of so many segments."""
    random = np.random.default_rng(21)
    for _ in range(count):
        seconds = np.clip(random.lognormal(np.log(_MEDIAN_S), _SPREAD), _SHORTEST_S, _LONGEST_S)
        yield int(seconds * FRAMES_PER_S)


def measure_cpu(num_steps: int, sequences: int | None = None) -> dict[str, Any]:
    """`num_steps` of both, the first not counted; `sequences` a step, None: as the recipe says."""
    with tempfile.TemporaryDirectory(prefix="audiomill-train-") as scratch:
        folder = Path(scratch)
        spec = recipe(folder, num_steps, num_rows=32 * num_steps)
        if sequences is not None:
            data = spec.data.model_copy(update={"sequences_per_step": sequences})
            spec = spec.model_copy(update={"data": data})
        model, text = open_model(spec.model, spec.seed)
        steps = prepared(spec, model, text)
        samples = [[one for sequence in step for one in sequence] for step in steps]
        plain = PlainLoop(copy.deepcopy(model), spec)
        trainer = Trainer(spec, model, Prepared(steps), text)
        batch_size = fastest_batch(plain, samples[0])
        ours: list[Seconds] = []
        theirs: list[Seconds] = []
        differences: list[float] = []
        began = _now()

        def take_turns(done: int, total: int, figures: Mapping[str, float]) -> None:
            nonlocal began
            ours.append(_since(began))
            began = _now()
            loss = plain.step(samples[done - 1], batch_size, done - 1)
            theirs.append(_since(began))
            differences.append(abs(loss - figures["loss"]) / loss)
            began = _now()

        began = _now()
        trainer.run(take_turns)
    positions = [sum(map(_positions, of_step)) for of_step in samples]
    lengths = [_positions(one) for of_step in samples for one in of_step]
    wall = [plain_s / our_s for (our_s, _), (plain_s, _) in zip(ours, theirs, strict=True)][1:]
    cpu = [plain_s / our_s for (_, our_s), (_, plain_s) in zip(ours, theirs, strict=True)][1:]
    return {
        "over_plain_loop": round(statistics.median(wall), 2),
        "over_plain_loop_least": round(min(wall), 2),
        "over_plain_loop_cpu": round(statistics.median(cpu), 2),
        "positions_per_s": _rate(positions, ours),
        "positions_per_s_plain_loop": _rate(positions, theirs),
        "plain_batch": batch_size,
        "loss_difference": float(f"{max(differences):.2g}"),
        "samples": len(lengths),
        "positions_of_sample_median": statistics.median(lengths),
        "fill": round(sum(lengths) / (len(steps) * _capacity(spec)), 3),
    }


def recipe(folder: Path, num_steps: int, num_rows: int) -> TrainSpec:
    """The tiny recipe on made shards in `folder`."""
    commit_shards(folder / "job", made_rows(frames_of(num_rows)), rows_per_group=256)
    spec = load_spec(RECIPE, [f"output={folder / 'run'}", f"steps={num_steps}"], TrainSpec)
    (source,) = spec.data.sources
    moved = source.model_copy(update={"uri": str(folder / "job")})
    return spec.model_copy(update={"data": spec.data.model_copy(update={"sources": [moved]})})


def prepared(spec: TrainSpec, model: MiMoAudio, text: TextTokenizer) -> list[Step]:
    """All steps of a run, laid out."""
    loader = open_loader(spec, model, text)
    steps: list[Step] = [
        [[document.content for document in one.documents] for one in loader.batch(step).sequences]
        for step in range(spec.steps)
    ]
    loader.close()
    return steps


def fastest_batch(plain: PlainLoop, examples: Sequence[Example]) -> int:
    """Rows of a padded pass that take the plain loop the least time."""
    plain.gradients(examples, PLAIN_BATCHES[0])
    spent = {size: timed(partial(plain.gradients, examples, size)) for size in PLAIN_BATCHES}
    return min(spent, key=lambda size: spent[size])


def billion_spec() -> ModelSpec:
    """1.2 B parameters, 0.9 of them the backbone's; text as bytes."""
    spec = medium_spec()
    return dataclasses.replace(
        spec,
        vocab_size=32_768,
        backbone=dataclasses.replace(
            spec.backbone,
            width=2048,
            num_layers=18,
            num_heads=16,
            num_kv_heads=8,
            head_width=128,
            ffn_width=5632,
        ),
        patch_encoder=_deeper(spec, "patch_encoder", 6),
        patch_decoder=_deeper(spec, "patch_decoder", 12),
    )


def measure_gpu(num_steps: int) -> dict[str, Any]:
    """The trainer alone; nothing where there is no GPU."""
    if not torch.cuda.is_available():
        return {"gpu_mfu": None}
    model = untrained_model(billion_spec())
    figures = trained(model, "cuda", num_steps, context_groups=8192, sequences=4)
    figures |= {"gpu_peak_gb": round(torch.cuda.max_memory_allocated() / 2**30, 1)}
    return {"gpu_parameters_m": round(sum(p.numel() for p in model.parameters()) / 1e6)} | figures


def trained(
    model: MiMoAudio,
    device: str,
    num_steps: int,
    *,
    context_groups: int,
    sequences: int,
    precision: str = "bfloat16",
    peak_tflops: float | None = None,
) -> dict[str, Any]:
    """Medians of what the trainer says of its steps, two sequences a pass; the first two steps are
    not counted. `peak_tflops` None: what is known of the device."""
    with tempfile.TemporaryDirectory(prefix="audiomill-train-") as scratch:
        folder = Path(scratch)
        rows = 80 * num_steps * sequences * context_groups // 8192 + 40
        spec = recipe(folder, num_steps, num_rows=rows)
        data = {"context_groups": context_groups, "sequences_per_step": sequences}
        run = {"device": device, "sequences_per_pass": 2, "peak_tflops": peak_tflops}
        changes = {
            "precision": precision,
            "data": spec.data.model_copy(update=data),
            "run": spec.run.model_copy(update=run),
        }
        spec = spec.model_copy(update=changes)
        text = TextTokenizer.of_bytes()
        found: list[Mapping[str, float]] = []
        steps = Prepared(prepared(spec, model, text))
        Trainer(spec, model, steps, text).run(lambda done, total, figures: found.append(figures))

    def median(name: str) -> float | None:
        values = [figures[name] for figures in found[2:] if name in figures]
        return statistics.median(values) if values else None

    mfu = median("mfu")
    audio, words = median("audio_positions_per_s"), median("text_positions_per_s")
    return {
        "gpu_mfu": None if mfu is None else round(mfu, 3),
        "gpu_positions_per_s": round((audio or 0.0) + (words or 0.0)),
    }


def _deeper(spec: ModelSpec, part: str, num_layers: int) -> Any:
    """A small stack of the spec at 768 wide and so many layers."""
    return dataclasses.replace(
        getattr(spec, part), width=768, head_width=48, ffn_width=3072, num_layers=num_layers
    )


def _positions(example: Example) -> int:
    return example.ids.shape[1] // 4


def _capacity(spec: TrainSpec) -> int:
    return spec.data.context_groups * spec.data.sequences_per_step


def _rate(positions: Sequence[int], seconds: Sequence[Seconds]) -> float:
    pairs = list(zip(positions, seconds, strict=True))[1:]
    return round(statistics.median(count / wall_s for count, (wall_s, _) in pairs))


def _now() -> Seconds:
    return time.perf_counter(), time.process_time()


def _since(began: Seconds) -> Seconds:
    wall_s, cpu_s = _now()
    return wall_s - began[0], cpu_s - began[1]


def measure_cpu_apart(short: bool, repeats: int) -> dict[str, Any]:
    """`measure_cpu` in a process of its own, because OpenMP reads its settings as it is loaded."""
    command = [sys.executable, "-m", "benchmarks.train", "--only-cpu", f"--repeats={repeats}"]
    done = subprocess.run(
        [*command, *(["--short"] if short else [])],
        cwd=ROOT,
        env=os.environ | {"OMP_WAIT_POLICY": "passive"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main(argv: Sequence[str] | None = None) -> int:
    parser = options(__doc__)
    parser.add_argument("--only-cpu", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    short, repeats = arguments.short, arguments.repeats
    if arguments.only_cpu:
        found = measure_cpu(3, sequences=1) if short else measure_cpu(1 + _STEPS_A_REPEAT * repeats)
        print(json.dumps(found))
        return 0
    figures = measure_cpu_apart(short, repeats) | measure_gpu(6 if short else 10 * repeats)
    report("train", figures, arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
