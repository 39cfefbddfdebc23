"""`tokenizer/training/text_head.py`: frames in, bytes foretold."""

import math

import torch

from tokenizer.training.spec import TextSpec
from tokenizer.training.text_head import TextHead

SPEC = TextSpec(width=32, num_layers=1, num_heads=2)


def test_the_loss_of_a_clip_does_not_depend_on_its_company() -> None:
    torch.manual_seed(0)
    head = TextHead(8, SPEC)
    short, long = (torch.randn(5, 8), "abc"), (torch.randn(30, 8), "a longer text")
    alone = head([short])
    both = head([short, long])
    weighted = (4 * alone + 14 * head([long])) / 18
    torch.testing.assert_close(both, weighted, rtol=1e-4, atol=1e-5)


def test_it_learns_to_read_the_frames_not_only_the_texts() -> None:
    torch.manual_seed(0)
    head = TextHead(8, SPEC)
    words = {"yes": torch.randn(6, 8), "no!": torch.randn(6, 8)}
    optimizer = torch.optim.Adam(head.parameters(), 3e-3)
    clips = [(frames, text) for text, frames in words.items()]
    for _ in range(80):
        optimizer.zero_grad()
        loss = head(clips)
        loss.backward()
        optimizer.step()
    swapped = [(words["no!"], "yes"), (words["yes"], "no!")]
    assert float(loss.detach()) < 0.1
    assert float(head(swapped).detach()) > 1.0


def test_without_texts_the_loss_is_zero_and_has_a_gradient() -> None:
    head = TextHead(8, SPEC)
    loss = head([])
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert all(weight.grad is not None for weight in head.parameters())


def test_untrained_it_guesses() -> None:
    torch.manual_seed(0)
    loss = TextHead(8, SPEC)([(torch.randn(20, 8), "some text")])
    assert abs(float(loss.detach()) - math.log(258)) < 0.5
