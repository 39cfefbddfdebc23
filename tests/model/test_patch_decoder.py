"""`model/patch_decoder.py`: a patch step by step as at once."""

import pytest
import torch
from torch import Tensor

from model import MiMoAudio, small_model
from schemas.errors import ModelError


@pytest.fixture(scope="module")
def model() -> MiMoAudio:
    return small_model()


@pytest.fixture
def hidden(model: MiMoAudio) -> Tensor:
    return torch.randn(3, model.spec.backbone.width, generator=torch.Generator().manual_seed(1))


def draw(model: MiMoAudio, hidden_BD: Tensor) -> tuple[Tensor, list[dict[int, Tensor]]]:
    """Random patches and the logits of each step."""
    random = torch.Generator().manual_seed(2)
    steps = model.patch_steps(hidden_BD.shape[0])
    logits, seen = steps.start(hidden_BD), []
    while logits:
        seen.append(logits)
        tokens = {
            channel: torch.multinomial(found.softmax(-1), 1, generator=random)[:, 0]
            for channel, found in logits.items()
        }
        logits = steps.next(tokens)
    return steps.codes, seen


def test_each_step_gives_the_channels_of_the_delay_pattern(
    model: MiMoAudio, hidden: Tensor
) -> None:
    _, seen = draw(model, hidden)
    assert [sorted(logits) for logits in seen] == [
        [0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5],
        [3, 4, 5, 6], [4, 5, 6, 7], [5, 6, 7], [6, 7], [7],
    ]  # fmt: skip
    assert seen[0][0].shape == (3, 1025)
    assert seen[10][7].shape == (3, 129)


def test_step_by_step_as_teacher_forced(model: MiMoAudio, hidden: Tensor) -> None:
    codes, seen = draw(model, hidden)
    with torch.no_grad():
        forced = model.patch_logits(hidden, codes)
    for step, logits in enumerate(seen):
        for channel, found in logits.items():
            wanted = forced[channel][:, step - model.spec.delays[channel]]
            empty = model.spec.empty_codes[channel]
            assert bool((found[:, empty] == float("-inf")).all())
            kept = torch.arange(wanted.shape[1]) != empty
            torch.testing.assert_close(found[:, kept], wanted[:, kept], atol=2e-5, rtol=1e-4)
            assert torch.equal(found.argmax(-1), wanted[:, kept].argmax(-1))


def test_one_object_makes_patch_after_patch(model: MiMoAudio, hidden: Tensor) -> None:
    steps = model.patch_steps(3)
    first = {channel: found.clone() for channel, found in steps.start(hidden).items()}
    steps.next({0: torch.tensor([1, 2, 3])})
    assert torch.equal(steps.start(hidden)[0], first[0])


def test_wrong_tokens_and_rows_are_refused(model: MiMoAudio, hidden: Tensor) -> None:
    steps = model.patch_steps(3)
    with pytest.raises(ModelError, match="2 hidden states for 3 rows"):
        steps.start(hidden[:2])
    steps.start(hidden)
    with pytest.raises(ModelError, match=r"step 0 .* channels \[1\], wanted \[0\]"):
        steps.next({1: torch.zeros(3, dtype=torch.int64)})


def test_the_last_steps_token_is_nobodys_input(model: MiMoAudio, hidden: Tensor) -> None:
    codes, _ = draw(model, hidden)
    other = codes.clone()
    other[:, 3, 7] = (other[:, 3, 7] + 1) % 128
    with torch.no_grad():
        found, wanted = model.patch_logits(hidden, other), model.patch_logits(hidden, codes)
    for one, same in zip(found, wanted, strict=True):
        assert torch.equal(one, same)
