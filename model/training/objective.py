"""The loss: weighted cross entropy of the next text id and of the codes of the next patch.

The report's weights are 100 for text and 12, 8, 6, 4, 2, 2, 1, 1 for the channels; a text target
`<|empty|>` (audio comes next) counts a hundredth, as in the published fine-tuning toolkit.
"""

# Shapes: P positions of all documents, A audio positions, D width, N trained patches, M trained
# text positions, G frames of a patch, C channels.

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from model.layout import FILLER
from model.mimo import MiMoAudio
from model.patch_encoder import embed_codes
from model.training.batch import PackedBatch
from schemas.errors import ModelError


@dataclass(frozen=True, kw_only=True, slots=True)
class LossWeights:
    """All from 0; `channels` has one for each audio channel. All channels 0: text alone."""

    text: float = 100.0
    channels: tuple[float, ...] = (12.0, 8.0, 6.0, 4.0, 2.0, 2.0, 1.0, 1.0)
    empty_target: float = 0.01
    """Of a text target `<|empty|>` beside the other text targets."""

    def __post_init__(self) -> None:
        if self.text <= 0 or min((*self.channels, self.empty_target)) < 0:
            raise ModelError(
                f"loss weights {self.text}, {self.channels}, {self.empty_target}: wanted text "
                "above 0 and the others from 0"
            )

    @property
    def trains_audio(self) -> bool:
        return any(self.channels)


class Targets(NamedTuple):
    """What is trained in a batch: the divisors of its losses, known before any forward pass."""

    text: Tensor
    """Sum of the weights of the text targets, a scalar."""
    patches: Tensor
    """Number of trained patches, a scalar."""


class Sums(NamedTuple):
    """Sums over the trained positions of one batch."""

    text: Tensor
    """Weighted cross entropy of text ids, in nats."""
    channels: Tensor
    """Cross entropy of codes, `[C]`."""
    text_right: Tensor
    """Weighted number of text ids that were the likeliest."""
    channels_right: Tensor
    """Number of codes that were the likeliest, `[C]`."""


class Objective(nn.Module):
    """A model and its loss. The forward pass is here, so that sharding hooks see one call."""

    def __init__(self, model: MiMoAudio, weights: LossWeights) -> None:
        super().__init__()
        if len(weights.channels) != model.spec.num_channels:
            raise ModelError(
                f"{len(weights.channels)} channel weights for a model of {model.spec.num_channels} "
                "channels; give one for each"
            )
        self.model, self.weights = model, weights

    @torch.no_grad()
    def targets(self, batch: PackedBatch) -> Targets:
        """Divisors of the batch; add them up over all batches and processes of a step."""
        labels_M = _shifted(batch, self.model)[0]
        empty = labels_M == self.model.special_tokens.empty
        return Targets(
            text=torch.where(empty, self.weights.empty_target, 1.0).sum(),
            patches=empty.sum().float(),
        )

    def forward(self, batch: PackedBatch) -> Sums:
        """Runs the patch encoder on audio positions, the heads and the patch decoder on targets."""
        model, weights = self.model, self.weights
        labels_M, places_M, codes_PGC = _shifted(batch, model)
        hidden_PD = self._hidden(batch)
        logits_MV = _wide(model.lm_head(hidden_PD[places_M - 1]))
        is_empty_M = labels_M == model.special_tokens.empty
        weight_M = torch.where(is_empty_M, weights.empty_target, 1.0)
        text = functional.cross_entropy(logits_MV, labels_M, reduction="none")
        right_M = logits_MV.detach().argmax(-1) == labels_M
        channels = channels_right = logits_MV.new_zeros(model.spec.num_channels)
        places_N = places_M[is_empty_M]
        if weights.trains_audio and (len(places_N) or _together()):
            before_ND, codes_NGC = hidden_PD[places_N - 1], codes_PGC[places_N]
            if not len(places_N):
                # Sharded parts are gathered by all processes or by none: a patch that counts 0.
                before_ND, codes_NGC = hidden_PD[:1], torch.zeros_like(codes_PGC[:1])
            by_channel = model.patch_logits(before_ND, codes_NGC)
            losses, rights = [], []
            for channel, logits_NGV in enumerate(by_channel):
                codes = codes_NGC[..., channel].flatten()
                flat = _wide(logits_NGV.flatten(0, 1))
                losses.append(functional.cross_entropy(flat, codes, reduction="sum"))
                rights.append((flat.detach().argmax(-1) == codes).sum().to(flat.dtype))
            counts = float(bool(len(places_N)))
            channels, channels_right = torch.stack(losses) * counts, torch.stack(rights) * counts
        return Sums(
            text=(text * weight_M).sum(),
            channels=channels,
            text_right=(right_M * weight_M).sum(),
            channels_right=channels_right,
        )

    def _hidden(self, batch: PackedBatch) -> Tensor:
        """Normed hidden state of every position, `[P, D]`."""
        model = self.model
        group = model.spec.group_size
        text_P = batch.input_ids[0, ::group]
        is_audio_P = text_P == model.special_tokens.empty
        embedded_PD = model.model.embed_tokens(text_P.clamp(min=0))
        codes_AGC = batch.input_ids[1:].unflatten(-1, (-1, group)).permute(1, 2, 0)[is_audio_P]
        if not len(codes_AGC) and _together():  # as for the patch decoder
            nothing = batch.input_ids.new_zeros(1, group, model.spec.num_channels)
            unused = self._patches(nothing).sum() * 0.0
            embedded_PD = embedded_PD + unused.to(embedded_PD.dtype)
        if len(codes_AGC):
            embedded_PD = embedded_PD.masked_fill(is_audio_P.unsqueeze(-1), 0.0)
            embedded_PD = embedded_PD.index_put(
                (is_audio_P.nonzero().squeeze(-1),), self._patches(codes_AGC).to(embedded_PD.dtype)
            )
        hidden: Tensor = model.model(embedded_PD.unsqueeze(0), documents=batch.documents)
        return hidden.squeeze(0)

    def _patches(self, codes_AGC: Tensor) -> Tensor:
        """Encoded patches in the backbone's width, `[A, D]`."""
        model = self.model
        frames = embed_codes(model.speech_embeddings, codes_AGC, model.spec.empty_codes)
        everywhere = torch.ones(len(codes_AGC), dtype=torch.bool, device=frames.device)
        patches = model.input_local_transformer.encode(frames, everywhere)
        found: Tensor = model.speech_group_downcast(patches)
        return found


def mean_loss(sums: Sums, targets: Targets, weights: LossWeights, group_size: int) -> Tensor:
    """The loss of a step from this process's sums and everybody's targets.

    `(text * mean text + sum of weight * mean channel) / sum of weights`; where nobody trains a
    patch, the mean text loss alone. Times the number of processes, because gradients are averaged
    over them and the targets are already those of all.
    """
    text = sums.text / targets.text.clamp(min=torch.finfo(torch.float32).tiny)
    world = distributed.get_world_size() if distributed.is_initialized() else 1
    if not weights.trains_audio or float(targets.patches) == 0:
        return text * world
    weight_C = sums.channels.new_tensor(weights.channels)
    channels = (weight_C * sums.channels).sum() / (targets.patches * group_size)
    return (weights.text * text + channels) / (weights.text + weight_C.sum()) * world


def _wide(logits: Tensor) -> Tensor:
    """Cross entropies are never taken in half precision."""
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits


def sum_over_processes(values: tuple[Tensor, ...]) -> list[Tensor]:
    """Each added up over all processes, in one exchange."""
    if not distributed.is_initialized():
        return list(values)
    flat = torch.cat([value.detach().float().flatten() for value in values])
    distributed.all_reduce(flat)
    parts = flat.split([value.numel() for value in values])
    return [part.view(value.shape) for part, value in zip(parts, values, strict=True)]


def _together() -> bool:
    return distributed.is_initialized() and distributed.get_world_size() > 1


def _shifted(batch: PackedBatch, model: MiMoAudio) -> tuple[Tensor, Tensor, Tensor]:
    """Trained text ids `[M]`, their positions `[M]`, and the codes of all labels `[P, G, C]`.

    A document's first position is predicted by nothing, so its label is not trained.
    """
    group = model.spec.group_size
    labels_P = batch.labels[0, ::group]
    trained_P = labels_P != FILLER
    trained_P[torch.tensor(batch.documents.starts, device=labels_P.device)] = False
    places_M = trained_P.nonzero().squeeze(-1)
    codes_PGC = batch.labels[1:].unflatten(-1, (-1, group)).permute(1, 2, 0)
    return labels_P[places_M], places_M, codes_PGC
