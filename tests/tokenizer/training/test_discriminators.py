"""`tokenizer/training/discriminators.py`: what tells recordings from reconstructions."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from schemas.errors import TokenizerError
from tests.tokenizer.make_sound import make_sound
from tokenizer.training.adversarial import discriminator_loss
from tokenizer.training.discriminators import (
    Judgement,
    MultiPeriodDiscriminator,
    MultiScaleStftDiscriminator,
)

Made = Callable[[], nn.Module]


def by_period() -> nn.Module:
    torch.manual_seed(0)
    return MultiPeriodDiscriminator((2, 3, 5), channels=2)


def by_stft() -> nn.Module:
    torch.manual_seed(0)
    return MultiScaleStftDiscriminator((512, 256), channels=4)


both = pytest.mark.parametrize("make", [by_period, by_stft])


@pytest.fixture
def sounds() -> Tensor:
    return torch.stack([make_sound(2400, seed) for seed in range(3)])


def convs(module: nn.Module) -> list[nn.Conv2d]:
    return [part for part in module.modules() if isinstance(part, nn.Conv2d)]


def largest_singular_values(module: nn.Module) -> list[float]:
    module.eval()
    return [
        float(torch.linalg.matrix_norm(conv.weight.detach().flatten(1), ord=2))
        for conv in convs(module)
    ]


@pytest.mark.parametrize(
    ("published", "num_parts"),
    [(MultiPeriodDiscriminator, 5), (MultiScaleStftDiscriminator, 3)],
)
def test_five_periods_and_three_ffts_are_the_default(
    published: Callable[..., nn.Module], num_parts: int
) -> None:
    judgements = published(channels=1)(torch.zeros(1, 4800))
    assert len(judgements) == num_parts
    assert all(len(judgement.features) == 5 for judgement in judgements)


def test_channels_of_the_period_stacks_grow_as_published() -> None:
    model = MultiPeriodDiscriminator((2,), channels=4)
    assert [conv.out_channels for conv in convs(model)] == [4, 16, 64, 128, 128, 1]


def test_shapes_of_the_period_stacks(sounds: Tensor) -> None:
    judgement = by_period()(sounds)[2]
    assert [tuple(part.shape) for part in judgement.features] == [
        (3, 2, 160, 5),
        (3, 8, 54, 5),
        (3, 32, 18, 5),
        (3, 64, 6, 5),
        (3, 64, 6, 5),
    ]
    assert judgement.score.shape == (3, 1, 6, 5)


def test_shapes_of_the_stft_stacks(sounds: Tensor) -> None:
    judgement = by_stft()(sounds)[0]
    assert [tuple(part.shape) for part in judgement.features] == [
        (3, 4, 15, 257),
        (3, 4, 15, 129),
        (3, 4, 15, 65),
        (3, 4, 15, 33),
        (3, 4, 15, 33),
    ]
    assert judgement.score.shape == (3, 1, 15, 33)


@both
def test_a_clip_is_judged_by_itself(make: Made, sounds: Tensor) -> None:
    model = make().eval()
    for together, alone in zip(model(sounds), model(sounds[1:2]), strict=True):
        torch.testing.assert_close(together.score[1:2], alone.score)


def test_a_column_sees_every_sample_of_its_phase_and_no_other() -> None:
    model = MultiPeriodDiscriminator((5,), channels=2)
    sound = make_sound(2400)[None].requires_grad_()
    model(sound)[0].score[..., 3].sum().backward()
    assert sound.grad is not None
    is_seen = sound.grad[0] != 0
    assert is_seen[3::5].all()
    assert not is_seen.unflatten(0, (-1, 5))[:, [0, 1, 2, 4]].any()


@both
@pytest.mark.parametrize("num_samples", [1, 7, 300, 2401])
def test_any_length_is_judged(make: Made, num_samples: int) -> None:
    for judgement in make()(torch.ones(2, num_samples)):
        assert judgement.score.numel() >= 2
        assert judgement.score.isfinite().all()


@both
@pytest.mark.parametrize("shape", [(2400,), (1, 1, 2400), (1, 0)])
def test_other_shapes_are_refused(make: Made, shape: tuple[int, ...]) -> None:
    with pytest.raises(TokenizerError, match=r"wanted \[clips, samples\]"):
        make()(torch.zeros(shape))


@both
def test_spectral_norm_holds_every_convolution_near_one(make: Made, sounds: Tensor) -> None:
    model = make()
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(generator=random)
        assert max(largest_singular_values(model)) > 1.2  # estimates are of the weights before
        model.train()
        for _ in range(30):
            model(sounds)
    values = largest_singular_values(model)
    assert len(values) == 6 * len(model.stacks)  # type: ignore[arg-type]
    assert all(0.99 < value < 1.1 for value in values)


@both
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_autocast_halves_the_convolution_but_not_its_norm(make: Made, device: str) -> None:
    conv = convs(make().eval().to(device))[1]
    x = torch.randn(1, conv.in_channels, 20, 20, generator=torch.Generator().manual_seed(0))
    x = x.to(device)
    assert conv.bias is not None
    weight, bias = conv.weight.bfloat16(), conv.bias.bfloat16()
    wanted = functional.conv2d(x.bfloat16(), weight, bias, conv.stride, conv.padding, conv.dilation)
    with torch.autocast(device, torch.bfloat16):
        torch.testing.assert_close(conv(x), wanted, rtol=0, atol=0)


@both
def test_losses_and_gradients_under_autocast_are_finite(make: Made, sounds: Tensor) -> None:
    model = make()
    noise = 0.1 * torch.randn(sounds.shape, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        real, fake = model(sounds), model(noise)
    assert fake[0].features[0].dtype == torch.bfloat16
    loss = discriminator_loss(real, fake)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert all(part.grad is not None and part.grad.isfinite().all() for part in model.parameters())


@both
def test_the_waveform_gets_a_gradient_while_the_judge_is_frozen(make: Made, sounds: Tensor) -> None:
    model = make().requires_grad_(False)
    sound = sounds.clone().requires_grad_()
    judgements: list[Judgement] = model(sound)
    torch.stack([judgement.score.mean() for judgement in judgements]).sum().backward()
    assert sound.grad is not None
    assert sound.grad.isfinite().all()
    assert sound.grad.any()
    assert all(part.grad is None for part in model.parameters())


@both
def test_a_restored_judge_says_the_same(make: Made, sounds: Tensor) -> None:
    model = make()
    model(sounds)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for part in other.parameters():
            part.add_(1.0)
    other.load_state_dict(model.state_dict())
    for one, two in zip(model.eval()(sounds), other.eval()(sounds), strict=True):
        assert torch.equal(one.score, two.score)


@both
def test_some_steps_tell_tones_from_noise(make: Made) -> None:
    model = make()
    random = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, betas=(0.5, 0.9), weight_decay=0.0)

    def tones_and_noise() -> tuple[Tensor, Tensor]:
        pitch_hz = 200 + 1000 * torch.rand(8, 1, generator=random)
        phase = 2 * math.pi * torch.rand(8, 1, generator=random)
        tones = torch.sin(2 * math.pi * pitch_hz * torch.arange(2400) / 24_000 + phase)
        return 0.5 * tones, 0.35 * torch.randn(8, 2400, generator=random)

    for _ in range(100):
        tones, noise = tones_and_noise()
        optimizer.zero_grad()
        discriminator_loss(model(tones), model(noise)).backward()
        optimizer.step()
    model.eval()
    tones, noise = tones_and_noise()
    with torch.no_grad():
        for real, fake in zip(model(tones), model(noise), strict=True):
            assert real.score.mean() > 0 > fake.score.mean()
        assert discriminator_loss(model(tones), model(noise)) < 1.0  # 2 knows nothing
