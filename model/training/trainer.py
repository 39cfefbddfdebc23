"""Runs a training: resumes, logs, saves, and stops before it spoils what it has."""

import math
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.tensor import DTensor

from model.mimo import MiMoAudio
from model.tasks import Example
from model.text import TextTokenizer
from model.training.batch import PackedBatch, pack
from model.training.checkpoints import Checkpoints
from model.training.objective import (
    LossWeights,
    Objective,
    Sums,
    Targets,
    mean_loss,
    sum_over_processes,
)
from model.training.optimizer import (
    gradient_norms,
    make_optimizer,
    schedule,
    set_learning_rates,
)
from model.training.pace import Pace
from model.training.sharding import average_unsharded, exchange_gradients, prepare
from model.training.spec import TrainSpec
from schemas.errors import TrainingError
from tokenizer.training.claim import claim
from tokenizer.training.journal import Journal, disk_errors
from tokenizer.training.processes import STOP, anywhere, interrupts, place

# Norms keep float32 weights under autocast; torch would tell that it has no fused kernel for that.
warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight")

RESULT = "model"
CURVES: Mapping[str, tuple[str, ...]] = {
    "loss": ("loss",),
    "loss by channel": ("loss/text", *(f"loss/{channel}" for channel in range(8))),
    "accuracy": ("accuracy/text", *(f"accuracy/{channel}" for channel in range(8))),
    "gradient norm": ("gradient", "gradient/backbone", "gradient/patch_decoder"),
}
_SMOOTHING = 0.95

OnStep = Callable[[int, int, Mapping[str, float]], None]
"""Told the steps done, the steps in all and the last figures."""


class StepSource(Protocol):
    """Where batches come from: a pure function of the step, whoever asks."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Of all that decides what is in a step, as plain values."""
        ...

    def sequences(self, step: int, rank: int, world: int) -> Sequence[Sequence[Example]]:
        """This rank's packed sequences of a step, each the documents in it; the same number on
        every rank."""
        ...


class Trainer:
    """One run of a `TrainSpec`, in its output folder."""

    def __init__(
        self,
        spec: TrainSpec,
        model: MiMoAudio,
        source: StepSource,
        text_tokenizer: TextTokenizer,
    ) -> None:
        self.spec, self.source, self._text = spec, source, text_tokenizer
        self.folder = Path(spec.output)
        self._rank, self._world = place()
        if spec.data.sequences_per_step % self._world:
            raise TrainingError(
                f"data.sequences_per_step is {spec.data.sequences_per_step}, wanted a multiple of "
                f"the {self._world} processes; change it or their number"
            )
        self._device = torch.device(spec.run.device)
        loss = spec.loss
        weights = LossWeights(
            text=loss.text, channels=tuple(loss.channels), empty_target=loss.empty_target
        )
        self._objective = Objective(model.to(self._device).train(), weights)
        # Freezing comes before sharding: a sharded parameter's wish for gradients is settled.
        make_optimizer(model, spec.optimizer)
        prepare(self._objective, spec.run, self._device)
        self._optimizer = make_optimizer(self._objective.model, spec.optimizer)
        self._checkpoints = Checkpoints(self.folder / "checkpoints", spec.run.keep_checkpoints)
        self._progress: dict[str, Any] = {"smoothed": math.nan, "best": math.inf}
        self._pace = Pace(model, spec.run.peak_tflops, self._device)

    @property
    def model(self) -> MiMoAudio:
        return self._objective.model

    def run(self, on_step: OnStep | None = None) -> Path:
        """Train to the end, from where an earlier run stopped; returns the model's folder.

        An interrupt (SIGINT, SIGTERM; off the main thread a file `OUT/stop`) ends the step, saves,
        and raises `KeyboardInterrupt`. After any other error the last checkpoint is still finished.
        """
        wanted = self.spec.model_dump(mode="json", exclude={"run", "output"})
        with disk_errors(self.folder):
            claim(self.folder, wanted | {"batches": dict(self.source.facts)}, first=self._rank == 0)
        step = 0
        if found := self._checkpoints.latest():
            step = found[0]
            self._checkpoints.load(found[1], self.model, self._optimizer, self._progress)
        journal = Journal(None if self._rank else self.folder, step, CURVES)
        with interrupts(self.folder / STOP) as stop, journal:
            try:
                self._train(step, journal, stop, on_step)
            except BaseException:
                self._checkpoints.finish_after_error()
                raise
        with disk_errors(self.folder / RESULT):
            return self._save_result()

    def _train(
        self, done: int, journal: Journal, stop: threading.Event, on_step: OnStep | None
    ) -> None:
        run, total = self.spec.run, self.spec.steps
        for step in range(done, total):
            figures = self._step(step)
            number = step + 1
            last = number == total
            journal.write(
                step, "train", figures if number % run.log_every == 0 or last else _brief(figures)
            )
            if on_step is not None:
                on_step(number, total, figures)
            stopping = anywhere(stop.is_set())
            if number % run.checkpoint_every == 0 or last or stopping:
                self._checkpoints.save(number, self.model, self._optimizer, self._progress)
            if stopping and not last:
                self._checkpoints.finish()
                raise KeyboardInterrupt
        self._checkpoints.finish()

    def _step(self, step: int) -> dict[str, float]:
        """One update; raises `TrainingError` before it harms anything that is saved."""
        started = time.perf_counter()
        batches = self._batches(step)
        here = [self._objective.targets(batch) for batch in batches]
        targets = Targets(
            *sum_over_processes(tuple(torch.stack(each).sum() for each in zip(*here, strict=True)))
        )
        torch.manual_seed(hash((self.spec.seed, step, self._rank)) % 2**63)  # dropout, if any
        self._optimizer.zero_grad(set_to_none=True)
        found: list[Sums] = []
        for number, batch in enumerate(batches):
            exchange_gradients(self._objective, now=number + 1 == len(batches))
            with self._precision():
                sums = self._objective(batch)
            loss = mean_loss(sums, targets, self._objective.weights, self.model.spec.group_size)
            loss.backward()
            found.append(Sums(*(value.detach() for value in sums)))
        average_unsharded(self._objective)
        sums = Sums(
            *sum_over_processes(
                tuple(torch.stack(each).sum(0) for each in zip(*found, strict=True))
            )
        )
        norms = gradient_norms(self.model)
        whole = _whole(
            nn.utils.clip_grad_norm_(self.model.parameters(), self.spec.optimizer.max_grad_norm)
        )
        figures = self._figures(sums, targets)
        self._refuse_divergence(step, figures["loss"], whole)
        share = schedule(self.spec.optimizer, step, self.spec.steps)
        set_learning_rates(self._optimizer, share)
        self._optimizer.step()
        figures |= {"gradient": whole, "learning_rate": share}
        figures |= {f"gradient/{name}": float(norm) for name, norm in norms.items()}
        return figures | self._pace.of_step(batches, time.perf_counter() - started, self._world)

    def _batches(self, step: int) -> list[PackedBatch]:
        """This process's share of a step, in as many passes as the spec says."""
        sequences = self.source.sequences(step, self._rank, self._world)
        per_pass = self.spec.run.sequences_per_pass
        return [
            pack(
                [example for sequence in sequences[at : at + per_pass] for example in sequence],
                self.model.spec,
            ).to(self._device)
            for at in range(0, len(sequences), per_pass)
        ]

    def _figures(self, sums: Sums, targets: Targets) -> dict[str, float]:
        weights, group = self._objective.weights, self.model.spec.group_size
        loss = mean_loss(sums, targets, weights, group) / self._world
        text, codes = float(targets.text), float(targets.patches) * group
        figures = {
            "loss": float(loss),
            "loss/text": float(sums.text) / max(text, 1e-30),
            "accuracy/text": float(sums.text_right) / max(text, 1e-30),
        }
        if weights.trains_audio and codes:
            for channel in range(len(weights.channels)):
                figures[f"loss/{channel}"] = float(sums.channels[channel]) / codes
                figures[f"accuracy/{channel}"] = float(sums.channels_right[channel]) / codes
        return figures

    def _refuse_divergence(self, step: int, loss: float, gradient: float) -> None:
        """Every process sees the same figures, so all stop or none."""
        if not math.isfinite(loss) or not math.isfinite(gradient):
            raise self._diverged(step, f"the loss is {loss} and its gradient's norm {gradient}")
        state = self._progress
        before = loss if math.isnan(state["smoothed"]) else state["smoothed"]
        state["smoothed"] = _SMOOTHING * before + (1 - _SMOOTHING) * loss
        state["best"] = min(state["best"], state["smoothed"])
        if state["smoothed"] > self.spec.max_loss_ratio * state["best"]:
            raise self._diverged(
                step,
                f"the loss is {state['smoothed']:.3g} (smoothed), {self.spec.max_loss_ratio} times "
                f"its best, {state['best']:.3g}",
            )

    def _diverged(self, step: int, what: str) -> TrainingError:
        self._checkpoints.finish()
        kept = self._checkpoints.latest()
        saved = f"the last good checkpoint is {kept[1]}" if kept else "nothing was saved yet"
        return TrainingError(
            f"training diverged at step {step}: {what}; {saved}. Lower optimizer.learning_rates "
            "and start again in a new output folder"
        )

    def _precision(self) -> AbstractContextManager[object]:
        if self.spec.precision == "float32":
            return nullcontext()
        return torch.autocast(self._device.type, torch.bfloat16)

    def _save_result(self) -> Path:
        folder = self.folder / RESULT
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        state = get_model_state_dict(self.model, options=options)
        if self._rank == 0:
            plain = MiMoAudio.without_storage(self.model.spec, self.model.special_tokens)
            plain.load_state_dict(state, assign=True)
            plain.audio_tokenizer = self.model.audio_tokenizer
            plain.save_pretrained(folder)
            self._text.save(folder)
        return folder


def _brief(figures: Mapping[str, float]) -> dict[str, float]:
    """What every step writes down."""
    return {"loss": figures["loss"]}


def _whole(norm: torch.Tensor) -> float:
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
