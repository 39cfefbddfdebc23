"""`tokenizer/training/mel_loss.py`: the reconstruction loss."""

import math

import pytest
import torch
from torch import Tensor
from torchaudio.transforms import MelSpectrogram

from schemas.errors import TokenizerError
from tests.tokenizer.make_sound import make_sound
from tokenizer.training.mel_loss import MultiScaleMelLoss, mel_scale

SCALES = tuple(mel_scale(i) for i in (5, 6, 7))

RATE_HZ = 24_000


@pytest.fixture(scope="module")
def loss() -> MultiScaleMelLoss:
    return MultiScaleMelLoss(RATE_HZ)


@pytest.fixture
def sounds() -> Tensor:
    return torch.stack([make_sound(9600, seed) for seed in range(2)])


def test_scales_are_the_published_ones() -> None:
    assert [(s.num_bands, s.window_samples, s.hop_samples) for s in SCALES] == [
        (32, 240, 120),
        (64, 480, 240),
        (128, 960, 480),
    ]


@pytest.mark.parametrize("rate_hz", [16_000, 24_000])
def test_every_band_weighs_something(rate_hz: int) -> None:
    loss = MultiScaleMelLoss(rate_hz)
    for index, scale in enumerate(SCALES):
        weights = loss.get_buffer(f"bands_{index}").sum(dim=0)
        assert weights.shape == (scale.num_bands,)
        assert weights.min() > 0.1


def test_equal_signals_are_no_distance_apart(loss: MultiScaleMelLoss, sounds: Tensor) -> None:
    assert loss(sounds, sounds.clone()).item() == 0.0


def test_it_is_the_mean_over_the_scales_as_torchaudio_computes_them(
    loss: MultiScaleMelLoss, sounds: Tensor
) -> None:
    noisy = sounds + 0.05 * torch.randn(sounds.shape, generator=torch.Generator().manual_seed(0))
    distances = []
    for scale in SCALES:
        peer = MelSpectrogram(
            RATE_HZ,
            scale.fft_samples,
            scale.window_samples,
            scale.hop_samples,
            n_mels=scale.num_bands,
            power=1.0,
            normalized="frame_length",
            pad_mode="constant",
        )
        logs = [peer(sound).clamp(min=1e-5).log() for sound in (noisy, sounds)]
        distances.append((logs[0] - logs[1]).abs().mean())
    torch.testing.assert_close(loss(noisy, sounds), torch.stack(distances).mean())


def test_a_gain_is_its_logarithm_at_every_scale(loss: MultiScaleMelLoss) -> None:
    noise = torch.randn(1, 24_000, generator=torch.Generator().manual_seed(0))
    assert loss(2 * noise, noise).item() == pytest.approx(math.log(2), rel=1e-3)


def test_it_grows_with_the_error(loss: MultiScaleMelLoss, sounds: Tensor) -> None:
    noise = torch.randn(sounds.shape, generator=torch.Generator().manual_seed(0))
    apart = [loss(sounds + level * noise, sounds).item() for level in (0.001, 0.01, 0.1, 1.0)]
    assert apart == sorted(apart)
    assert apart[0] > 0


def test_what_follows_the_valid_samples_does_not_count(loss: MultiScaleMelLoss) -> None:
    short, long = make_sound(5000, 0), make_sound(9600, 1)
    other_short, other_long = make_sound(5000, 2), make_sound(9600, 3)
    batch, other = torch.randn(2, 2, 9600, generator=torch.Generator().manual_seed(0))
    batch[0, :5000], batch[1] = short, long
    other[0, :5000], other[1] = other_short, other_long
    valid = torch.tensor([5000, 9600])

    only_first = loss(batch[:1], other[:1], valid[:1])
    torch.testing.assert_close(only_first, loss(short[None], other_short[None]))
    both = loss(batch, other, valid)
    other[0, 5000:] = 7.0
    assert torch.equal(loss(batch, other, valid), both)
    assert loss(batch, other).item() != pytest.approx(both.item(), rel=1e-2)


def test_padding_gets_no_gradient(loss: MultiScaleMelLoss, sounds: Tensor) -> None:
    guess = torch.full_like(sounds, 0.1).requires_grad_()
    loss(guess, sounds, torch.tensor([4000, 9600])).backward()
    assert guess.grad is not None
    assert not guess.grad[0, 4000:].any()
    assert guess.grad[0, :4000].any()


@pytest.mark.parametrize("num_samples", [1, 100, 4800])
def test_gradients_of_silence_are_finite(loss: MultiScaleMelLoss, num_samples: int) -> None:
    silent, sound = torch.zeros(1, num_samples), make_sound(num_samples)[None]
    for guess, target in ((silent, sound), (sound, silent), (silent, silent)):
        guess = guess.clone().requires_grad_()
        result = loss(guess, target)
        result.backward()
        assert result.isfinite()
        assert guess.grad is not None
        assert guess.grad.isfinite().all()


def test_only_the_reconstruction_is_trained(loss: MultiScaleMelLoss, sounds: Tensor) -> None:
    target = sounds.clone().requires_grad_()
    guess = (sounds + 0.1).requires_grad_()
    loss(guess, target).backward()
    assert target.grad is None
    assert guess.grad is not None


def test_following_the_gradient_brings_the_sounds_closer(
    loss: MultiScaleMelLoss, sounds: Tensor
) -> None:
    guess = (0.1 * torch.randn(sounds.shape, generator=torch.Generator().manual_seed(0))).clone()
    guess.requires_grad_()
    optimizer = torch.optim.Adam([guess], lr=3e-3)
    distances = []
    for _ in range(20):
        optimizer.zero_grad()
        distance = loss(guess, sounds)
        distance.backward()
        optimizer.step()
        distances.append(distance.item())
    assert distances[-1] < 0.7 * distances[0]


def test_autocast_changes_nothing(loss: MultiScaleMelLoss, sounds: Tensor) -> None:
    guess = sounds + 0.01
    plain = loss(guess, sounds)
    with torch.autocast("cpu", torch.bfloat16):
        result = loss(guess, sounds)
    assert result.dtype == torch.float32
    assert torch.equal(result, plain)


def test_buffers_stay_out_of_a_checkpoint(loss: MultiScaleMelLoss) -> None:
    assert not loss.state_dict()


def test_shapes_that_do_not_fit_are_refused(loss: MultiScaleMelLoss, sounds: Tensor) -> None:
    with pytest.raises(TokenizerError, match="wanted two equal ones"):
        loss(sounds, sounds[:, 1:])
    with pytest.raises(TokenizerError, match="wanted two equal ones"):
        loss(sounds[0], sounds[0])
    with pytest.raises(TokenizerError, match="for each of 2 clips"):
        loss(sounds, sounds, torch.tensor([9600]))
