"""The two stages of the recipe: what is trained, on which losses."""

# Shapes: B clips, S samples, T frames, D width.

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from tokenizer.codebook_learning import LearningSpec
from tokenizer.mel import LogMel
from tokenizer.model import TokenizerModel
from tokenizer.training.adversarial import (
    discriminator_loss,
    feature_matching_loss,
    generator_loss,
)
from tokenizer.training.batches import Batch
from tokenizer.training.clip_information import clip_information
from tokenizer.training.discriminators import (
    Judgement,
    MultiPeriodDiscriminator,
    MultiScaleStftDiscriminator,
)
from tokenizer.training.mel_loss import MultiScaleMelLoss
from tokenizer.training.optimization import Optimization
from tokenizer.training.spec import DiscriminatorSpec, StageOneSpec, StageTwoSpec
from tokenizer.training.text_head import TextHead

Precision = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    """What one step did."""

    losses: dict[str, Tensor]
    """Detached scalars; always with `reconstruction`."""
    gradients: dict[str, Tensor]
    """Norms, `all` among them."""
    codes: Tensor | None = None
    """`[N, K]` of the batch, where codebooks are trained."""
    extra: dict[str, float] = field(default_factory=dict)


class Stage(Protocol):
    """What the trainer needs of a stage."""

    name: str
    steps: int
    optimizations: dict[str, Optimization]
    """Each with the module it trains."""

    def step(self, batch: Batch, step: int) -> StepResult:
        """One update."""
        ...


class StageOne:
    """Everything at once: mel distance + commitment + text, from waveform to waveform."""

    name = "stage1"

    def __init__(
        self,
        model: TokenizerModel,
        spec: StageOneSpec,
        distance: MultiScaleMelLoss,
        precision: Precision,
        seed: int,
    ) -> None:
        self.model, self.steps = model, spec.steps
        self._spec, self._precision, self._seed = spec, precision, seed
        torch.manual_seed(seed)  # the text head draws its weights from torch's own generator
        self._text = TextHead(model.spec.width, spec.text).to(device_of(model))
        self._mel, self._distance = LogMel(model.spec), distance
        self._learning = LearningSpec(
            decay=spec.codebooks.decay,
            dead_code_threshold=model.spec.dead_code_threshold,
            dims=spec.codebooks.dims,
        )
        trained = nn.ModuleDict({"tokenizer": model, "text": self._text})
        self.optimizations = {"all": Optimization(trained, spec.optimizer, spec.steps)}

    @torch.no_grad()
    def initialise_codebooks(self, batches: Sequence[Batch]) -> None:
        """k-means on what the encoder makes of real clips."""
        rows: list[Tensor] = []
        lengths: list[int] = []
        for batch in batches:
            with self._precision():
                features = self.model.encoder([self._mel(part) for part in batch.waveforms])
            rows.append(features.rows.float())
            lengths += features.pack.lengths
        self.model.encoder.quantizer.initialise(
            torch.cat(rows),
            self._learning,
            self._random(-1),
            num_steps=len(batches),
            lengths=lengths,
        )

    def step(self, batch: Batch, step: int) -> StepResult:
        weights = self._spec.weights
        self.model.train()
        with torch.no_grad():
            mels = [self._mel(waveform) for waveform in batch.waveforms]
        with self._precision():
            features = self.model.encoder(mels)
        learned = self.model.encoder.quantizer.learn(
            features.rows.float(), self._learning, random=self._random(step)
        )
        frames = [
            features.pack.of_clip(learned.vectors, index) for index in range(len(batch.waveforms))
        ]
        with self._precision():
            made = self.model.decoder(frames)
            said = [
                (clip, text)
                for clip, text in zip(frames, batch.texts, strict=True)
                if text is not None
            ]
            text_loss = self._text(said)
        reconstruction = reconstruction_loss(self._distance, made, batch)
        total = (
            weights.reconstruction * reconstruction
            + weights.commitment * learned.commitment_loss
            + weights.audio_to_text * text_loss
        )
        losses = {
            "reconstruction": reconstruction,
            "commitment": learned.commitment_loss,
            "audio_to_text": text_loss,
        }
        if weights.clip_information:
            for book, rows in enumerate(learned.confined):
                information = clip_information(rows, features.pack.lengths)
                losses[f"clip_information/{book}"] = information
                total = total + weights.clip_information * information
        losses["total"] = total
        gradients = self.optimizations["all"].step(total, step)
        return StepResult(losses=detached(losses), gradients=gradients, codes=learned.codes)

    def _random(self, step: int) -> torch.Generator:
        return torch.Generator().manual_seed(hash((self._seed, step)) % 2**63)


class StageTwo:
    """Decoder and vocoder against discriminators; encoder and codebooks rest."""

    name = "stage2"

    def __init__(
        self,
        model: TokenizerModel,
        spec: StageTwoSpec,
        distance: MultiScaleMelLoss,
        precision: Precision,
        seed: int,
    ) -> None:
        self.model, self.steps = model, spec.steps
        self._spec, self._precision, self._seed = spec, precision, seed
        torch.manual_seed(seed)
        self._judges = Judges(spec.discriminators).to(device_of(model))
        self._mel, self._distance = LogMel(model.spec), distance
        self.optimizations = {
            "decoder": Optimization(model.decoder, spec.optimizer, spec.steps),
            "discriminators": Optimization(self._judges, spec.discriminator_optimizer, spec.steps),
        }

    def step(self, batch: Batch, step: int) -> StepResult:
        weights = self._spec.weights
        self.model.eval()
        frames = self._frames(batch)
        with self._precision():
            made = self.model.decoder(frames)
        reconstruction = reconstruction_loss(self._distance, made, batch)
        real_BS, fake_BS = self._judged(batch, made, step)

        with self._precision():
            real, fake = self._judges(real_BS), self._judges(fake_BS.detach())
        telling = discriminator_loss(real, fake)
        judged = self.optimizations["discriminators"].step(telling, step)

        self._judges.requires_grad_(False)
        with self._precision():
            with torch.no_grad():
                real = self._judges(real_BS)
            fake = self._judges(fake_BS)
        adversarial, matching = generator_loss(fake), feature_matching_loss(real, fake)
        total = (
            weights.reconstruction * reconstruction
            + weights.adversarial * adversarial
            + weights.feature_matching * matching
        )
        gradients = self.optimizations["decoder"].step(total, step)
        self._judges.requires_grad_(True)
        losses = {
            "total": total,
            "reconstruction": reconstruction,
            "adversarial": adversarial,
            "feature_matching": matching,
            "discriminator": telling,
        }
        return StepResult(
            losses=detached(losses), gradients=gradients | {"discriminators": judged["all"]}
        )

    @torch.no_grad()
    def _frames(self, batch: Batch) -> list[Tensor]:
        with self._precision():
            features = self.model.encoder([self._mel(part) for part in batch.waveforms])
        quantizer = self.model.encoder.quantizer
        codes_NK = quantizer.encode(features.rows.float(), len(quantizer.codebooks))
        vectors_ND = quantizer.decode(codes_NK)
        return [features.pack.of_clip(vectors_ND, index) for index in range(len(batch.waveforms))]

    def _judged(self, batch: Batch, made: Sequence[Tensor], step: int) -> tuple[Tensor, Tensor]:
        """The same random stretch of each real and each reconstructed clip, `[B, S]`."""
        random = torch.Generator().manual_seed(hash((self._seed, step)) % 2**63)
        length = round(self._spec.judged_s * self.model.spec.sample_rate_hz)
        real, fake = [], []
        for target, clip in zip(batch.waveforms, made, strict=True):
            if target.shape[0] < length:
                continue
            first = int(torch.randint(target.shape[0] - length + 1, (1,), generator=random))
            real.append(target[first : first + length])
            fake.append(clip.float()[first : first + length])
        if not real:  # every clip is shorter: judge the longest, whole
            place = max(range(len(made)), key=lambda index: batch.waveforms[index].shape[0])
            real = [batch.waveforms[place]]
            fake = [made[place].float()[: real[0].shape[0]]]
        return torch.stack(real), torch.stack(fake)


class Judges(nn.Module):
    """All discriminators as one."""

    def __init__(self, spec: DiscriminatorSpec) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            [
                MultiPeriodDiscriminator(spec.periods, spec.channels),
                MultiScaleStftDiscriminator(spec.fft_sizes, spec.channels),
            ]
        )

    def forward(self, waveforms_BS: Tensor) -> list[Judgement]:
        return [judgement for part in self.parts for judgement in part(waveforms_BS)]


def reconstruction_loss(
    distance: MultiScaleMelLoss, made: Sequence[Tensor], batch: Batch
) -> Tensor:
    """Mel distance of decoded clips to the batch, each cut to the length of its original."""
    target_BS, lengths_B = batch.padded()
    cut = [
        clip.float()[: target.shape[0]] for clip, target in zip(made, batch.waveforms, strict=True)
    ]
    made_BS = nn.utils.rnn.pad_sequence(cut, batch_first=True)
    loss: Tensor = distance(made_BS, target_BS, lengths_B.to(made_BS.device))
    return loss


def device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def detached(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: loss.detach().float() for name, loss in losses.items()}
