"""Runs the two stages: resumes, logs, saves, and stops before it spoils what it has."""

import math
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from schemas.errors import TrainingError
from tokenizer.checkpoint import weights_digest
from tokenizer.codec import Tokenizer
from tokenizer.model import TokenizerModel
from tokenizer.spec import TokenizerSpec
from tokenizer.training.augment import Augment, AugmentSpec
from tokenizer.training.batches import Batches, held_out_clips, stream
from tokenizer.training.book_use import BookUse, dead_entries
from tokenizer.training.checkpoints import Checkpoints
from tokenizer.training.claim import claim
from tokenizer.training.clips import ClipStore
from tokenizer.training.journal import Journal
from tokenizer.training.mel_loss import MultiScaleMelLoss
from tokenizer.training.processes import anywhere, interrupts, mean_of_all, place
from tokenizer.training.sounds import write_wav
from tokenizer.training.spec import TrainSpec
from tokenizer.training.stages import Stage, StageOne, StageTwo, StepResult
from tokenizer.training.start import new_model, trained_model

RESULT = "tokenizer"
_SMOOTHING = 0.98
_MAX_HELD_OUT_S = 8.0

OnStep = Callable[[int, int, Mapping[str, float]], None]
"""Told the steps done, the steps in all and the last figures."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backgrounds:
    """Noise and music for augmentation, float32 at the tokenizer's rate."""

    clips: tuple[np.ndarray[Any, np.dtype[np.float32]], ...] = ()


class Trainer:
    """One run of a `TrainSpec`, in its output folder."""

    def __init__(
        self, spec: TrainSpec, store: ClipStore, backgrounds: Backgrounds = Backgrounds()
    ) -> None:
        self.spec, self.store = spec, store
        self.folder = Path(spec.output)
        self.network = TokenizerSpec.from_config(spec.model, "model")
        self._check()
        self._device = torch.device(spec.run.device)
        self._rank, self._world = place()
        self.model = self._first_weights().to(self._device)
        self._start_digest = weights_digest(self.model) if spec.start_from else None
        self._average = AveragedModel(
            self.model, multi_avg_fn=get_ema_multi_avg_fn(spec.ema_decay), use_buffers=False
        )
        self._distance = MultiScaleMelLoss(self.network.sample_rate_hz, spec.mel_scales).to(
            self._device
        )
        self._checkpoints = Checkpoints(self.folder / "checkpoints", spec.run.keep_checkpoints)
        self._progress: dict[str, Any] = {"smoothed": math.nan, "best": math.inf}
        augment = None
        if spec.data.augment is not None:
            settings = AugmentSpec(**spec.data.augment)
            augment = Augment(settings, self.network.sample_rate_hz, backgrounds.clips)
        self._batches = Batches(
            store,
            seed=spec.seed,
            clips_per_step=spec.clips_per_step,
            held_out=spec.data.held_out,
            repeat=spec.data.repeat,
            max_clip_s=spec.data.max_clip_s,
            samples_per_frame=self.network.samples_per_frame,
            augment=augment,
            rank=self._rank,
            world=self._world,
        )

    def _first_weights(self) -> TokenizerModel:
        if self.spec.start_from is None:
            return new_model(self.network, self.spec.seed)
        return trained_model(self.network, Path(self.spec.start_from))

    @property
    def total_steps(self) -> int:
        return self.spec.stage1.steps + self.spec.stage2.steps

    def run(self, on_step: OnStep | None = None) -> Path:
        """Train to the end, from where an earlier run stopped; returns the tokenizer's folder.

        An interrupt (SIGINT, SIGTERM) ends the step, saves, and raises `KeyboardInterrupt`.
        """
        self._claim()
        found = self._checkpoints.latest()
        stage_name, step = (found[0], found[1]) if found else ("stage1", 0)
        first = step + (self.spec.stage1.steps if stage_name == "stage2" else 0)
        with interrupts() as stop, self._journal(first) as journal:
            if stage_name == "stage1":
                one = StageOne(
                    self.model, self.spec.stage1, self._distance, self._precision(), self.spec.seed
                )
                if found:
                    self._load(one, found[2])
                elif step == 0:
                    one.initialise_codebooks([self._batches[n] for n in self._first_batches()])
                self._train(one, step, 0, journal, stop, on_step)
                self._take_average()
                step, found = 0, None
            two = StageTwo(
                self.model, self.spec.stage2, self._distance, self._precision(), self.spec.seed + 1
            )
            if found:
                self._load(two, found[2])
            self._train(two, step, self.spec.stage1.steps, journal, stop, on_step)
            self._listen(journal, self.total_steps)
        return self._save_result()

    def _train(
        self,
        stage: Stage,
        done: int,
        before: int,
        journal: Journal,
        stop: threading.Event,
        on_step: OnStep | None,
    ) -> None:
        run = self.spec.run
        window = _Window(self.network.codebook_sizes)
        ahead = stream(self._batches, before + done, before + stage.steps, run.loader_workers)
        for step, batch in enumerate(ahead, start=done):
            result = stage.step(batch.to(self._device), step)
            self._average.update_parameters(self.model)
            self._refuse_divergence(stage, before + step, result)
            window.add(result, batch.num_samples / self.network.sample_rate_hz)
            number, last = before + step + 1, step + 1 == stage.steps
            figures: Mapping[str, float] = {}
            if number % run.log_every == 0 or last:
                figures = self._figures(stage, step, window)
                journal.write(number - 1, stage.name, figures)
            if on_step is not None:
                on_step(number, self.total_steps, figures)
            if number % run.sample_every == 0:
                self._listen(journal, number)
            stopping = anywhere(stop.is_set())
            if number % run.checkpoint_every == 0 or last or stopping:
                self._save(stage, step + 1)
            if stopping:
                raise KeyboardInterrupt

    def _figures(self, stage: Stage, step: int, window: "_Window") -> dict[str, float]:
        figures = window.figures(self._world)
        threshold = self.network.dead_code_threshold
        if stage.name == "stage1":
            figures |= dead_entries(self.model.encoder.quantizer.codebooks, threshold)
        for name, optimization in stage.optimizations.items():
            figures[f"learning_rate/{name}"] = optimization.learning_rate(step)
        return figures

    def _refuse_divergence(self, stage: Stage, step: int, result: StepResult) -> None:
        values = result.losses | {f"gradient of {name}": v for name, v in result.gradients.items()}
        for name, value in values.items():
            if not bool(torch.isfinite(value)):
                raise self._diverged(stage, step, f"{name} is {float(value)}")
        loss, state = mean_of_all(result.losses["reconstruction"]), self._progress
        if math.isnan(state["smoothed"]):
            state["smoothed"] = loss
        state["smoothed"] = _SMOOTHING * state["smoothed"] + (1 - _SMOOTHING) * loss
        state["best"] = min(state["best"], state["smoothed"])
        if state["smoothed"] > self.spec.max_loss_ratio * state["best"]:
            raise self._diverged(
                stage,
                step,
                f"the reconstruction loss is {state['smoothed']:.3g} (smoothed), "
                f"{self.spec.max_loss_ratio} times its best, {state['best']:.3g}",
            )

    def _diverged(self, stage: Stage, step: int, what: str) -> TrainingError:
        kept = self._checkpoints.latest()
        saved = f"the last good checkpoint is {kept[2]}" if kept else "nothing was saved yet"
        return TrainingError(
            f"{stage.name} diverged at step {step}: {what}; {saved}. Lower {stage.name}.optimizer."
            "learning_rate and start again in a new output folder"
        )

    def _listen(self, journal: Journal, number: int) -> None:
        """Held-out clips through the averaged weights: their distance, and sounds to hear."""
        if self._rank:
            return
        tokenizer = self.tokenizer()
        distance = MultiScaleMelLoss(tokenizer.sample_rate_hz, self.spec.mel_scales)
        use = BookUse(self.network.codebook_sizes)
        losses = []
        folder = self.folder / "samples" / f"step-{number:08d}"
        longest = round(_MAX_HELD_OUT_S * tokenizer.sample_rate_hz)
        for index in held_out_clips(len(self.store), self.spec.data.held_out):
            original = torch.from_numpy(self.store.waveform(index))[:longest]
            (codes,) = tokenizer.encode([original], self.network.num_codebooks)
            (decoded,) = tokenizer.decode([codes])
            decoded = decoded[: original.shape[0]]
            use.add(codes)
            losses.append(float(distance(decoded[None], original[None])))
            write_wav(folder / f"{index}-original.wav", original, tokenizer.sample_rate_hz)
            write_wav(folder / f"{index}-decoded.wav", decoded, tokenizer.sample_rate_hz)
        figures = {"held_out/reconstruction": sum(losses) / len(losses)}
        figures |= {f"held_out/{name}": figure for name, figure in use.figures().items()}
        journal.write(number - 1, "held_out", figures)
        journal.draw()

    def tokenizer(self) -> Tokenizer:
        """The averaged weights as they are now, on the CPU."""
        model = TokenizerModel(self.network)
        model.load_state_dict(self._average.module.state_dict())
        model.requires_grad_(False)
        origin = f"{self.spec.name}, trained by audiomill"
        return Tokenizer(model, trained=True, origin=origin)

    def _save_result(self) -> Path:
        folder = self.folder / RESULT
        if self._rank == 0:
            self.tokenizer().save_pretrained(folder)
        return folder

    def _take_average(self) -> None:
        """Stage 2 starts from the averaged weights, and its average from there."""
        self.model.load_state_dict(self._average.module.state_dict())
        self._progress.update(smoothed=math.nan, best=math.inf)

    def _save(self, stage: Stage, step: int) -> None:
        self._checkpoints.save(
            stage.name, step, self._modules(), stage.optimizations, self._progress
        )

    def _load(self, stage: Stage, path: Path) -> None:
        self._checkpoints.load(path, self._modules(), stage.optimizations, self._progress)

    def _modules(self) -> dict[str, nn.Module]:
        return {"model": self.model, "average": self._average}

    def _first_batches(self) -> range:
        """Steps whose clips hold enough frames for k-means."""
        wanted = self.spec.stage1.codebooks.frames_per_entry * max(self.network.codebook_sizes)
        per_step = self.spec.clips_per_step * min(
            self.spec.data.max_clip_s, self.store.audio_s / len(self.store)
        )
        return range(math.ceil(wanted / (per_step * self.network.frame_rate_hz)))

    def _precision(self) -> Callable[[], AbstractContextManager[object]]:
        if self.spec.precision == "float32":
            return nullcontext
        return partial(torch.autocast, self._device.type, torch.bfloat16)

    def _journal(self, first_step: int) -> Journal:
        return Journal(None if self._rank else self.folder, first_step)

    def _check(self) -> None:
        if self.store.sample_rate_hz != self.network.sample_rate_hz:
            raise TrainingError(
                f"the clips were prepared at {self.store.sample_rate_hz} Hz, the model wants "
                f"{self.network.sample_rate_hz} Hz; start in a new output folder"
            )
        threshold = self.network.dead_code_threshold
        clip_s = min(self.spec.data.max_clip_s, self.store.audio_s / len(self.store))
        frames = self.spec.clips_per_step * clip_s * self.network.frame_rate_hz
        largest = max(self.network.codebook_sizes)
        if threshold > 0.5 * frames / largest:
            raise TrainingError(
                f"model.threshold_ema_dead_code is {threshold}: a step has about "
                f"{frames:.0f} frames, so each of {largest} entries is chosen "
                f"{frames / largest:.2f} times on average and most would be replaced "
                f"all the time; wanted at most {0.5 * frames / largest:.2f}, or more clips_per_step"
            )
        world = place()[1]
        if self.spec.stage1.weights.clip_information and self.spec.clips_per_step < 2 * world:
            raise TrainingError(
                f"stage1.weights.clip_information compares the clips of a process, and {world} "
                f"share the {self.spec.clips_per_step} of clips_per_step; wanted 2 or more each"
            )

    def _claim(self) -> None:
        """The output folder is this run's, or new; raises `TrainingError` naming what differs."""
        wanted = self.spec.model_dump(mode="json", exclude={"run", "output"})
        wanted["data_digest"] = self.store.digest()
        if self._start_digest is not None:
            wanted["start_digest"] = self._start_digest
        claim(self.folder, wanted, first=self._rank == 0)


class _Window:
    """Sums over the steps between two log lines."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self._use = BookUse(sizes)
        self._clear()

    def add(self, result: StepResult, audio_s: float) -> None:
        for name, value in [
            *((f"loss/{name}", value) for name, value in result.losses.items()),
            *((f"gradient/{name}", value) for name, value in result.gradients.items()),
        ]:
            self._sums[name] = self._sums.get(name, torch.zeros(())) + value.cpu()
        if result.codes is not None:
            self._use.add(result.codes)
            self._has_codes = True
        self._steps += 1
        self._audio_s += audio_s

    def figures(self, world: int) -> dict[str, float]:
        """Means since the last call, and the pace."""
        figures = {name: float(value) / self._steps for name, value in self._sums.items()}
        if self._has_codes:
            figures |= self._use.figures()
        spent = time.monotonic() - self._since
        figures["audio_s_per_s"] = world * self._audio_s / spent
        self._clear()
        return figures

    def _clear(self) -> None:
        self._use.clear()
        self._sums: dict[str, Tensor] = {}
        self._steps, self._audio_s, self._has_codes = 0, 0.0, False
        self._since = time.monotonic()
