"""One training step of the quantizer against the stored one of the published tokenizer."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tokenizer.checkpoint import load_model
from tokenizer.codebook_learning import LearningSpec
from tokenizer.quantizer import ResidualQuantizer

GOLDEN = Path(__file__).parent / "golden" / "tokenizer-tiny"
PUBLISHED = LearningSpec(dead_code_threshold=2.0, keep_replacements=False, start_from_sums=False)
REVIVED = 3  # entry of codebook 1 whose use was set below the threshold before the stored step


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    vectors = load_file(GOLDEN / "vectors.safetensors")
    return {
        name.removeprefix("rvq_train/"): tensor
        for name, tensor in vectors.items()
        if name.startswith("rvq_train/")
    }


@pytest.fixture
def quantizer() -> ResidualQuantizer:
    model, _ = load_model(GOLDEN, torch.device("cpu"), torch.float32)
    quantizer = model.encoder.quantizer.train()
    quantizer.codebooks[1].cluster_size[REVIVED] = 0.5
    return quantizer


def distance(found: Tensor, wanted: Tensor) -> float:
    assert found.shape == wanted.shape
    return float((found - wanted).abs().max() / wanted.abs().max())


def test_a_training_step_gives_the_published_vectors_codes_and_loss(
    quantizer: ResidualQuantizer, golden: dict[str, Tensor]
) -> None:
    step = quantizer.learn(golden["x"], PUBLISHED)
    assert torch.equal(step.codes.T, golden["codes"].long())
    assert distance(step.vectors, golden["quantized"]) < 1e-4
    assert distance(step.commitment_loss, golden["commit_loss"]) < 1e-4


@pytest.mark.parametrize("last", [0, 2])
def test_the_first_codebooks_alone_give_the_published_partial_sum(
    quantizer: ResidualQuantizer, golden: dict[str, Tensor], last: int
) -> None:
    step = quantizer.learn(golden["x"], PUBLISHED, num_codebooks=last + 1)
    assert distance(step.vectors, golden[f"partial_after_layer{last}"]) < 1e-4


def test_a_training_step_leaves_the_published_buffers(
    quantizer: ResidualQuantizer, golden: dict[str, Tensor]
) -> None:
    quantizer.learn(golden["x"], PUBLISHED)
    for level in (0, 1, 5):
        book = quantizer.codebooks[level]
        for name in ("embed", "embed_avg", "cluster_size"):
            wanted = golden[f"after/layer{level}/{name}"]
            assert distance(getattr(book, name), wanted) < 1e-4, (level, name)


def test_gradients_are_the_published_ones(
    quantizer: ResidualQuantizer, golden: dict[str, Tensor]
) -> None:
    quantizer.eval()
    x = golden["x"].clone().requires_grad_()
    step = quantizer.learn(x, PUBLISHED)
    (of_dot,) = torch.autograd.grad(
        (step.vectors * golden["dot_vector"]).sum(), x, retain_graph=True
    )
    (of_loss,) = torch.autograd.grad(step.commitment_loss, x)
    assert distance(of_dot, golden["grad_of_dot"]) < 1e-4
    assert distance(of_loss, golden["grad_of_commit_loss"]) < 1e-4


def test_a_revived_entry_stays_where_it_was_put_unless_the_published_step_is_asked_for(
    quantizer: ResidualQuantizer, golden: dict[str, Tensor]
) -> None:
    rest = golden["x"] - golden["partial_after_layer0"]
    lasting = LearningSpec(dead_code_threshold=2.0, keep_replacements=True)
    quantizer.learn(golden["x"], lasting)
    entry = quantizer.codebooks[1].embed[REVIVED]
    similarity = torch.cosine_similarity(entry.expand_as(rest), rest, dim=1)
    assert float(similarity.max()) > 0.99
    assert float(quantizer.codebooks[1].cluster_size[REVIVED]) > 1.9
