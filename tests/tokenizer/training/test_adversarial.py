"""`tokenizer/training/adversarial.py`: hinge and feature matching."""

import pytest
import torch
from torch import Tensor

from tests.tokenizer.make_sound import make_sound
from tokenizer.training.adversarial import (
    discriminator_loss,
    feature_matching_loss,
    generator_loss,
)
from tokenizer.training.discriminators import Judgement, MultiPeriodDiscriminator


def scored(*values: float) -> Judgement:
    return Judgement(score=torch.tensor(values).reshape(1, 1, -1), features=[])


def felt(*maps: Tensor) -> Judgement:
    return Judgement(score=torch.zeros(1, 1, 1), features=list(maps))


@pytest.mark.parametrize(
    ("real", "fake", "wanted"),
    [
        ([scored(0.0)], [scored(0.0)], 2.0),
        ([scored(1.0)], [scored(-1.0)], 0.0),
        ([scored(5.0)], [scored(-5.0)], 0.0),
        ([scored(-1.0)], [scored(1.0)], 4.0),
        ([scored(0.5, 3.0)], [scored(-0.5, 0.5)], 0.25 + 1.0),
        # A sub-discriminator counts once, however many places it looks at.
        ([scored(1.0, 1.0, 1.0), scored(0.0)], [scored(-1.0), scored(-1.0)], 0.5),
    ],
)
def test_hinge_of_the_discriminators(
    real: list[Judgement], fake: list[Judgement], wanted: float
) -> None:
    assert discriminator_loss(real, fake).item() == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("fake", "wanted"),
    [
        ([scored(1.0)], 0.0),
        ([scored(9.0)], 0.0),
        ([scored(0.0)], 1.0),
        ([scored(-2.0)], 3.0),
        ([scored(0.0, 4.0)], 0.5),
        ([scored(1.0, 1.0, 1.0), scored(-1.0)], 1.0),
    ],
)
def test_hinge_of_the_generator(fake: list[Judgement], wanted: float) -> None:
    assert generator_loss(fake).item() == pytest.approx(wanted)


def test_feature_matching_by_hand() -> None:
    real = [felt(torch.tensor([2.0, -2.0]), torch.tensor([10.0])), felt(torch.tensor([4.0]))]
    fake = [felt(torch.tensor([3.0, -2.0]), torch.tensor([5.0])), felt(torch.tensor([-4.0]))]
    # 0.5 / 2 and 5 / 10 in the first, 8 / 4 in the second
    assert feature_matching_loss(real, fake).item() == pytest.approx((0.375 + 2.0) / 2)


def test_feature_matching_is_zero_on_equal_sounds_only() -> None:
    torch.manual_seed(0)
    model = MultiPeriodDiscriminator((2, 3), channels=2).eval()
    sound, other = make_sound(2400, 0)[None], make_sound(2400, 1)[None]
    assert feature_matching_loss(model(sound), model(sound)).item() == 0.0
    assert feature_matching_loss(model(sound), model(other)).item() > 0.01


def test_layers_weigh_the_same_whatever_their_size() -> None:
    real, fake = torch.randn(2, 1, 4, 50, generator=torch.Generator().manual_seed(0))
    small = feature_matching_loss([felt(real)], [felt(fake)])
    large = feature_matching_loss([felt(1000 * real)], [felt(1000 * fake)])
    torch.testing.assert_close(small, large)


def test_the_gradient_of_feature_matching_goes_to_the_reconstruction() -> None:
    real = torch.ones(1, 2, 5, requires_grad=True)
    fake = torch.zeros(1, 2, 5, requires_grad=True)
    feature_matching_loss([felt(real)], [felt(fake)]).backward()
    assert real.grad is None
    assert fake.grad is not None
    assert (fake.grad < 0).all()


def test_features_of_silence_do_not_divide_by_zero() -> None:
    fake = torch.zeros(1, 2, 5, requires_grad=True)
    loss = feature_matching_loss([felt(torch.zeros(1, 2, 5))], [felt(fake)])
    loss.backward()
    assert loss.item() == 0.0
    assert fake.grad is not None
    assert fake.grad.isfinite().all()


def test_losses_of_half_precision_judgements_are_float32() -> None:
    half = Judgement(
        score=torch.full((1, 1, 4096), 0.5, dtype=torch.bfloat16),
        features=[torch.ones(1, 2, 4096, dtype=torch.bfloat16)],
    )
    losses = (
        discriminator_loss([half], [half]),
        generator_loss([half]),
        feature_matching_loss([half], [half]),
    )
    assert [loss.dtype for loss in losses] == [torch.float32] * 3
    assert [loss.item() for loss in losses] == [2.0, 0.5, 0.0]


def test_other_numbers_of_judgements_or_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        discriminator_loss([scored(0.0), scored(0.0)], [scored(0.0)])
    with pytest.raises(ValueError, match="shorter"):
        feature_matching_loss([felt(torch.ones(1), torch.ones(1))], [felt(torch.ones(1))])
