"""Encoder and decoder with gradients: the same numbers, and every parameter is reached."""

from pathlib import Path

import torch

from tests.tokenizer.make_sound import make_sound
from tokenizer import Tokenizer
from tokenizer.checkpoint import load_model


def test_features_with_gradients_are_those_without(tiny: Tokenizer, tiny_folder: Path) -> None:
    model, _ = load_model(tiny_folder, torch.device("cpu"), torch.float32)
    model.requires_grad_(True)
    mels = [tiny._clips.mel(make_sound(length, length)) for length in (24_000, 12_700)]
    features = model.encoder(mels)
    with torch.inference_mode():
        wanted = tiny.model.encoder(mels, tiling=tiny._clips.tiling())
        wanted_rows = [wanted.pack.of_clip(wanted.rows, index) for index in range(2)]
    for index in range(2):
        rows = features.pack.of_clip(features.rows, index)
        torch.testing.assert_close(rows, wanted_rows[index], rtol=1e-4, atol=1e-4)


def test_gradients_reach_every_parameter(tiny: Tokenizer, tiny_folder: Path) -> None:
    model, _ = load_model(tiny_folder, torch.device("cpu"), torch.float32)
    model.requires_grad_(True)
    mels = [tiny._clips.mel(make_sound(length, length)) for length in (24_000, 12_700)]
    features = model.encoder(mels)
    vectors = [features.pack.of_clip(features.rows, index) for index in range(2)]
    torch.manual_seed(0)
    loss = sum(
        ((samples * torch.randn_like(samples)).sum() for samples in model.decoder(vectors)),
        start=torch.zeros(()),
    )
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().sum()) > 0, name
