"""The loss and its gradients against stored values of the published fine-tuning toolkit."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from model import MiMoAudio
from model.training.batch import PackedBatch, unpadded
from model.training.objective import LossWeights, Objective, mean_loss

GOLDEN = Path(__file__).parent / "golden" / "lm-tiny"


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN / "vectors.safetensors")


@pytest.fixture
def objective() -> Objective:
    special = json.loads((GOLDEN / "meta.json").read_text())["special_tokens"]
    return Objective(MiMoAudio.from_pretrained(GOLDEN, special), LossWeights())


@pytest.fixture
def batch(golden: dict[str, Tensor]) -> PackedBatch:
    lengths = golden["loss/attention_mask"].sum(1).tolist()
    ids, labels = golden["loss/input_ids"].long(), golden["loss/labels"].long()
    return unpadded(ids, labels, lengths, group=4)


def test_the_loss_and_its_parts_are_the_published_ones(
    objective: Objective, batch: PackedBatch, golden: dict[str, Tensor]
) -> None:
    sums, targets = objective(batch), objective.targets(batch)
    parts = torch.cat([(sums.text / targets.text)[None], sums.channels / (targets.patches * 4)])
    torch.testing.assert_close(parts.detach(), golden["loss/components"], rtol=3e-6, atol=0)
    total = mean_loss(sums, targets, objective.weights, group_size=4)
    torch.testing.assert_close(total.detach()[None], golden["loss/total"], rtol=3e-6, atol=0)


def test_the_gradients_are_the_published_ones(
    objective: Objective, batch: PackedBatch, golden: dict[str, Tensor]
) -> None:
    total = mean_loss(objective(batch), objective.targets(batch), objective.weights, group_size=4)
    total.backward()
    parameters = dict(objective.model.named_parameters())
    names = [name for name in golden if name.startswith("loss/grad/")]
    assert len(names) == 9
    for name in names:
        found, wanted = parameters[name.removeprefix("loss/grad/")].grad, golden[name]
        assert found is not None
        assert float((found - wanted).abs().max() / wanted.abs().max()) < 1e-5, name
