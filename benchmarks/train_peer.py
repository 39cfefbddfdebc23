"""The peer of `benchmarks.train`: the same model and loss in a plain padded loop.

Rows are padded on the right to the longest of their batch; patch encoder, text head and patch
decoder run on every position, and masks leave out of the loss what is not trained.
"""

# Shapes: B rows, C channels, T frames, P positions (groups of G frames), N = B * (P - 1), V ids.

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from model import MiMoAudio
from model.layout import FILLER
from model.patch_encoder import embed_codes
from model.tasks import Example
from model.training.objective import LossWeights
from model.training.optimizer import make_optimizer, schedule, set_learning_rates
from model.training.spec import TrainSpec


class PlainLoop:
    """Trains `model`; every step is one update on the samples given."""

    def __init__(self, model: MiMoAudio, spec: TrainSpec) -> None:
        self._model = model.train()
        self._spec = spec
        loss = spec.loss
        self._weights = LossWeights(
            text=loss.text, channels=tuple(loss.channels), empty_target=loss.empty_target
        )
        self._optimizer = make_optimizer(model, spec.optimizer)

    def step(self, examples: Sequence[Example], batch_size: int, step: int) -> float:
        """One update on all of them, `batch_size` rows a pass; returns the loss before it."""
        loss = self.gradients(examples, batch_size)
        limit = self._spec.optimizer.max_grad_norm
        nn.utils.clip_grad_norm_(self._model.parameters(), limit)
        share = schedule(self._spec.optimizer, step, self._spec.steps)
        set_learning_rates(self._optimizer, share)
        self._optimizer.step()
        return loss

    def gradients(self, examples: Sequence[Example], batch_size: int) -> float:
        """Gradients of the mean loss over all samples, and that loss."""
        self._optimizer.zero_grad(set_to_none=True)
        group = self._model.spec.group_size
        text_weight, num_patches = 0.0, 0
        for example in examples:
            wanted = example.labels[0, ::group][1:]
            num_empty = int((wanted == self._model.special_tokens.empty).sum())
            num_patches += num_empty
            text_weight += int((wanted != FILLER).sum()) - num_empty
            text_weight += num_empty * self._weights.empty_target
        total = 0.0
        for ids, labels in _padded(examples, batch_size):
            loss = self._loss(ids, labels, text_weight, num_patches * group)
            loss.backward()
            total += float(loss.detach())
        return total

    def _loss(self, ids: Tensor, labels: Tensor, text_weight: float, num_codes: int) -> Tensor:
        model, weights = self._model, self._weights
        group, empty = model.spec.group_size, model.special_tokens.empty
        text_BP = ids[:, 0, ::group]
        codes_BPGC = ids[:, 1:].unflatten(-1, (-1, group)).permute(0, 2, 3, 1)
        hidden_BPD = model.model(self._embed(text_BP, codes_BPGC))
        hidden_ND = hidden_BPD[:, :-1].flatten(0, 1)
        labels_N = labels[:, 0, ::group][:, 1:].flatten()
        weight_V = torch.ones(model.spec.vocab_size)
        weight_V[empty] = weights.empty_target
        text = functional.cross_entropy(
            model.lm_head(hidden_ND), labels_N, weight_V, ignore_index=FILLER, reduction="sum"
        )
        if not weights.trains_audio or not num_codes:
            return text / text_weight
        by_channel = model.patch_logits(hidden_ND, codes_BPGC[:, 1:].flatten(0, 1))
        audio = text.new_zeros(())
        for channel, logits_NGV in enumerate(by_channel):
            codes_NG = codes_BPGC[:, 1:, :, channel].flatten(0, 1)
            trained_NG = torch.where((labels_N == empty)[:, None], codes_NG, FILLER)
            of_channel = functional.cross_entropy(
                logits_NGV.flatten(0, 1),
                trained_NG.flatten(),
                ignore_index=FILLER,
                reduction="sum",
            )
            audio = audio + weights.channels[channel] * of_channel / num_codes
        return (weights.text * text / text_weight + audio) / (weights.text + sum(weights.channels))

    def _embed(self, text_BP: Tensor, codes_BPGC: Tensor) -> Tensor:
        model = self._model
        is_audio_N = (text_BP == model.special_tokens.empty).flatten()
        frames = embed_codes(
            model.speech_embeddings, codes_BPGC.flatten(0, 1), model.spec.empty_codes
        )
        patches = model.input_local_transformer.encode(frames, is_audio_N)
        audio_ND = model.speech_group_downcast(patches)
        text_ND = model.model.embed_tokens(text_BP.flatten())
        embedded = torch.where(is_audio_N[:, None], audio_ND, text_ND)
        return embedded.unflatten(0, text_BP.shape)


def _padded(examples: Sequence[Example], batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Ids and labels `[B, 1 + C, T]`, zeros and `FILLER` behind the end of a row."""
    for first in range(0, len(examples), batch_size):
        rows = examples[first : first + batch_size]
        frames = max(row.ids.shape[1] for row in rows)
        shape = (len(rows), rows[0].ids.shape[0], frames)
        ids, labels = torch.zeros(shape, dtype=torch.int64), torch.full(shape, FILLER)
        for number, row in enumerate(rows):
            ids[number, :, : row.ids.shape[1]] = torch.from_numpy(row.ids)
            labels[number, :, : row.ids.shape[1]] = torch.from_numpy(row.labels)
        yield ids, labels
