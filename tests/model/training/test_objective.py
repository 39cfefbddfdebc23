"""`model/training/objective.py` against plain loops, and what must not be trained."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from model import MiMoAudio
from model.layout import FILLER, Layout, Piece, SpeechPiece, SpokenPiece, TextPiece
from model.small import small_model
from model.tasks import Example
from model.training.batch import PackedBatch, pack
from model.training.objective import LossWeights, Objective, mean_loss
from schemas.errors import ModelError

WEIGHTS = LossWeights()


@pytest.fixture(scope="module")
def model() -> MiMoAudio:
    return small_model(seed=1).double()


def example_of(model: MiMoAudio, pieces: Sequence[Piece], untrained: int) -> Example:
    """A document whose first `untrained` positions are read only."""
    layout = Layout(special=model.special_tokens, empty_codes=model.spec.empty_codes)
    ids = layout.lay(pieces)
    labels = ids.copy()
    labels[:, : untrained * 4] = FILLER
    return Example(ids=ids, labels=labels)


def documents(model: MiMoAudio) -> list[Example]:
    random = np.random.default_rng(0)

    def codes(frames: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        return random.integers(0, model.spec.empty_codes, (frames, 8))

    text = TextPiece(token_ids=(5, 6, 7, 8))
    return [
        example_of(model, [text, SpokenPiece(token_ids=(1, 2, 3), codes=codes(24))], 3),
        example_of(model, [SpeechPiece(codes=codes(12)), text], 6),
        example_of(model, [text], 0),
    ]


def plain_loss(model: MiMoAudio, examples: Sequence[Example]) -> tuple[float, list[float], float]:
    """Means and total, document by document and position by position."""
    text_sum = text_weight = 0.0
    channel_sums, num_codes = [0.0] * 8, 0
    for example in examples:
        ids, labels = torch.from_numpy(example.ids), torch.from_numpy(example.labels)
        output = model(ids.unsqueeze(0))
        for position in range(1, ids.shape[1] // 4):
            label = int(labels[0, position * 4])
            if label == FILLER:
                continue
            logits: Tensor = output.text_logits[0, position - 1]
            weight = WEIGHTS.empty_target if label == model.special_tokens.empty else 1.0
            text_sum -= weight * float(logits.log_softmax(-1)[label])
            text_weight += weight
            if label != model.special_tokens.empty:
                continue
            codes = labels[1:, position * 4 : position * 4 + 4].T
            by_channel = model.patch_logits(output.hidden[0, position - 1 : position], codes[None])
            num_codes += 4
            for channel, of_channel in enumerate(by_channel):
                for frame in range(4):
                    found = of_channel[0, frame].log_softmax(-1)[int(codes[frame, channel])]
                    channel_sums[channel] -= float(found)
    text, channels = text_sum / text_weight, [total / max(1, num_codes) for total in channel_sums]
    if not num_codes:
        return text, channels, text
    weighted = 100 * text + sum(w * c for w, c in zip(WEIGHTS.channels, channels, strict=True))
    return text, channels, weighted / 136


def loss_of(objective: Objective, batch: PackedBatch) -> float:
    sums, targets = objective(batch), objective.targets(batch)
    return float(mean_loss(sums, targets, objective.weights, group_size=4).detach())


def test_it_is_what_plain_loops_find(model: MiMoAudio) -> None:
    examples = documents(model)
    objective, batch = Objective(model, WEIGHTS), pack(examples, model.spec)
    with torch.no_grad():
        text, channels, total = plain_loss(model, examples)
        sums, targets = objective(batch), objective.targets(batch)
    assert float(sums.text / targets.text) == pytest.approx(text, rel=1e-6)
    found = (sums.channels / (targets.patches * 4)).tolist()
    assert found == pytest.approx(channels, rel=1e-6)
    assert loss_of(objective, batch) == pytest.approx(total, rel=1e-6)


def test_without_a_patch_it_is_the_text_loss(model: MiMoAudio) -> None:
    examples = documents(model)[1:]
    with torch.no_grad():
        text, _, total = plain_loss(model, examples)
    assert text == total
    found = loss_of(Objective(model, WEIGHTS), pack(examples, model.spec))
    assert found == pytest.approx(text, rel=1e-6)


def test_a_document_neither_sees_nor_predicts_its_neighbour(model: MiMoAudio) -> None:
    one, two, three = documents(model)
    objective = Objective(model, WEIGHTS)
    alone = [objective(pack([example], model.spec)) for example in (one, two, three)]
    together = objective(pack([three, one, two], model.spec))
    assert float(together.text.detach()) == pytest.approx(
        sum(float(sums.text.detach()) for sums in alone), rel=1e-9
    )


def test_text_alone_leaves_the_patch_decoder_without_gradient(model: MiMoAudio) -> None:
    objective = Objective(model, LossWeights(text=1.0, channels=(0.0,) * 8))
    batch = pack(documents(model), model.spec)
    loss = mean_loss(objective(batch), objective.targets(batch), objective.weights, 4)
    model.zero_grad(set_to_none=True)
    loss.backward()
    for name, parameter in model.named_parameters():
        is_decoder = name.startswith(("local_transformer", "hidden_states_downcast"))
        assert (parameter.grad is None) == is_decoder, name


def test_counts_of_parts_of_a_step_make_the_whole(model: MiMoAudio) -> None:
    """Two micro-batches divided by their common targets give the gradient of one batch."""
    examples = documents(model)
    objective = Objective(model, WEIGHTS)
    whole = loss_of(objective, pack(examples, model.spec))
    parts = [pack(examples[:1], model.spec), pack(examples[1:], model.spec)]
    targets = objective.targets(pack(examples, model.spec))
    found = sum(float(mean_loss(objective(part), targets, WEIGHTS, 4).detach()) for part in parts)
    assert math.isclose(found, whole, rel_tol=1e-9)


def test_bad_weights_are_refused(model: MiMoAudio) -> None:
    with pytest.raises(ModelError, match="3 channel weights for a model of 8"):
        Objective(model, LossWeights(channels=(1.0, 1.0, 1.0)))
    with pytest.raises(ModelError, match="wanted text above 0"):
        LossWeights(text=0.0)
