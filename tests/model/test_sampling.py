"""`model/sampling.py`: filters per row, draws per request."""

import numpy as np
import pytest
import torch
from torch import Tensor

from model.sampling import GREEDY, Draws, Sampler, Sampling
from schemas.errors import ModelError

CPU = torch.device("cpu")


def random_logits(rows: int, ids: int = 40) -> Tensor:
    return torch.randn(rows, ids, generator=torch.Generator().manual_seed(rows))


def test_greedy_takes_the_most_likely() -> None:
    logits = random_logits(3)
    found = Sampler([GREEDY] * 3, CPU)(logits, torch.rand(3))
    assert torch.equal(found, logits.argmax(-1))


def test_draws_follow_the_probabilities() -> None:
    logits = torch.tensor([0.5, 0.2, 0.0, 0.3]).log().expand(4000, -1)
    draws = torch.from_numpy(np.random.default_rng(0).random(4000, dtype=np.float32))
    found = Sampler([Sampling()] * 4000, CPU)(logits, draws)
    shares = found.bincount(minlength=4) / 4000
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.2, 0.0, 0.3]), atol=0.03, rtol=0)
    assert int(shares[2]) == 0
    hot = Sampler([Sampling(temperature=0.5)] * 4000, CPU)(logits, draws)
    wanted = torch.tensor([0.25, 0.04, 0.0, 0.09]) / 0.38
    shares = hot.bincount(minlength=4) / 4000
    torch.testing.assert_close(shares, wanted, atol=0.03, rtol=0)


def test_the_ends_of_the_draws_give_ids_that_may_be_drawn() -> None:
    logits = torch.full((2, 5), float("-inf"))
    logits[:, 1:4] = 0.0
    found = Sampler([Sampling(), Sampling()], CPU)(logits, torch.tensor([0.0, 1.0 - 2**-24]))
    assert found.tolist() == [1, 3]


def test_top_k_and_top_p_leave_the_likely_ones() -> None:
    logits = torch.tensor([[0.1, 0.4, 0.2, 0.3]]).log()

    def kept(**settings: float) -> list[int]:
        filtered = Sampler([Sampling(**settings)], CPU).filtered(logits)  # type: ignore[arg-type]
        return filtered[0].isfinite().nonzero()[:, 0].tolist()

    assert kept(top_k=2) == [1, 3]
    assert kept(top_k=9) == [0, 1, 2, 3]
    assert kept(top_p=0.65) == [1, 3]
    assert kept(top_p=0.75) == [1, 2, 3]
    assert kept(top_p=0.01) == [1]
    assert kept(top_p=1.0) == [0, 1, 2, 3]
    assert kept(top_k=2, top_p=0.5) == [1]  # 0.4 of 0.7 is enough


def test_ids_that_tie_with_the_last_kept_one_stay() -> None:
    logits = torch.tensor([[1.0, 0.0, 0.0, -1.0]])
    filtered = Sampler([Sampling(top_k=2)], CPU).filtered(logits)
    assert filtered[0].isfinite().tolist() == [True, True, True, False]


def test_forbidden_ids_are_forbidden_before_the_filters() -> None:
    logits = torch.tensor([[float("-inf"), 0.0, 0.5]])
    sampler = Sampler([Sampling(top_k=1, top_p=0.1)], CPU)
    assert sampler(logits, torch.tensor([0.9])).tolist() == [2]


def test_every_row_keeps_its_own_settings() -> None:
    settings = [GREEDY, Sampling(), Sampling(temperature=0.3, top_k=3), Sampling(top_p=0.7)]
    logits, draws = random_logits(4), torch.tensor([0.9, 0.6, 0.8, 0.4])
    together = Sampler(settings, CPU)(logits, draws)
    for row, one in enumerate(settings):
        alone = Sampler([one], CPU)(logits[row : row + 1], draws[row : row + 1])
        assert int(alone) == int(together[row])


def test_draws_are_those_of_the_seed() -> None:
    first, same, other = Draws(3, 5), Draws(3, 5), Draws(4, 5)
    for _ in range(130):
        numbers = first.next()
        assert numbers.shape == (5,)
        assert numbers.min() >= 0
        assert numbers.max() < 1
        assert np.array_equal(numbers, same.next())
        assert not np.array_equal(numbers, other.next())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -0.1}, r"temperature is -0\.1, wanted 0 \(greedy\) or more"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_k": 0}, "top_k is 0, wanted 1 or more"),
        ({"top_p": 0.0}, r"top_p is 0\.0, wanted above 0 and up to 1"),
        ({"top_p": 1.1}, r"top_p is 1\.1"),
    ],
)
def test_values_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Sampling(**settings)  # type: ignore[arg-type]


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ModelError, match="seed is -1"):
        Draws(-1, 5)
