"""Clustering of speaker embeddings, on seeded clouds of unit vectors."""

from typing import Any

import numpy as np
import pytest

from stages.diarize.clustering import find_speakers, follow_speakers, link_speakers, unit

WIDTH = 256
VOICES = unit(np.abs(np.random.default_rng(5).standard_normal((6, WIDTH))))


def windows(voice: int, num: int, seed: int, noise: float = 0.6) -> Any:
    """Unit embeddings of one voice, about 0.25 apart, as GE2E gives them."""
    rng = np.random.default_rng(seed)
    return unit(VOICES[voice] + noise / np.sqrt(WIDTH) * rng.standard_normal((num, WIDTH)))


def speakers_of(*parts: Any, max_difference: float = 0.06, **limits: Any) -> Any:
    limits = {"min_windows": 2, "max_speakers": 20, **limits}
    return find_speakers(np.concatenate(parts), max_difference=max_difference, **limits)


@pytest.mark.parametrize("num_windows", [1, 2, 3, 10, 200])
def test_one_voice_is_one_speaker_however_long(num_windows: int) -> None:
    found = speakers_of(windows(0, num_windows, 1))
    assert found.shape == (1, WIDTH)
    assert float(unit(found)[0] @ VOICES[0]) > 0.8


@pytest.mark.parametrize("noise", [0.2, 0.6, 0.9])
def test_voices_are_told_apart_in_clear_and_in_noisy_recordings_alike(noise: float) -> None:
    parts = [windows(v, 12, seed, noise) for seed, v in enumerate([0, 1, 0, 2, 1, 0])]
    found = speakers_of(*parts)
    assert len(found) == 3
    nearest = (unit(found) @ VOICES[:3].T).argmax(axis=1)
    assert sorted(nearest.tolist()) == [0, 1, 2]


def test_the_largest_speaker_comes_first() -> None:
    found = unit(speakers_of(windows(1, 10, 1), windows(0, 40, 2), windows(2, 20, 3)))
    assert (found @ VOICES[:3].T).argmax(axis=1).tolist() == [0, 2, 1]


def test_who_hardly_speaks_is_no_speaker_of_their_own_unless_nobody_else_does() -> None:
    found = speakers_of(windows(0, 30, 1), windows(1, 3, 2), min_windows=5)
    assert len(found) == 1
    assert len(speakers_of(windows(1, 3, 2), min_windows=5)) == 1


def test_the_number_of_speakers_is_capped_at_the_largest() -> None:
    parts = [windows(v, 10 + v, v) for v in range(6)]
    found = unit(speakers_of(*parts, max_speakers=2))
    assert sorted((found @ VOICES.T).argmax(axis=1).tolist()) == [4, 5]


def test_a_single_stray_cell_does_not_change_the_speaker() -> None:
    similarity = np.tile([0.8, 0.5], (20, 1))
    similarity[7] = [0.6, 0.7]
    gaps_s = np.zeros(20)
    assert follow_speakers(similarity, gaps_s, 0.5).tolist() == [0] * 20
    assert follow_speakers(similarity, gaps_s, 0.0)[7] == 1


def test_a_lasting_change_is_followed_where_it_happens() -> None:
    similarity = np.array([[0.8, 0.6]] * 10 + [[0.6, 0.8]] * 10)
    path = follow_speakers(similarity, np.zeros(20), 0.5)
    assert path.tolist() == [0] * 10 + [1] * 10


def test_after_a_silence_a_change_costs_little() -> None:
    similarity = np.array([[0.8, 0.6]] * 5 + [[0.6, 0.7]] * 2 + [[0.8, 0.6]] * 5)
    gaps_s = np.zeros(12)
    assert follow_speakers(similarity, gaps_s, 0.5).tolist() == [0] * 12
    gaps_s[[5, 7]] = 3.0
    assert follow_speakers(similarity, gaps_s, 0.5).tolist() == [0] * 5 + [1] * 2 + [0] * 5


def test_the_best_path_is_the_best_of_all_paths() -> None:
    rng = np.random.default_rng(3)
    similarity, gaps_s = rng.random((7, 3)), rng.random(7)

    def score(path: Any) -> float:
        costs = 0.4 * np.exp(-gaps_s / 0.5)
        changes = sum(costs[i] for i in range(1, 7) if path[i] != path[i - 1])
        return float(sum(similarity[i, path[i]] for i in range(7)) - changes)

    best = max(score(path) for path in np.ndindex(*[3] * 7))
    assert score(follow_speakers(similarity, gaps_s, 0.4)) == pytest.approx(best)


def test_no_cells_have_no_path() -> None:
    assert follow_speakers(np.zeros((0, 2)), np.zeros(0), 0.5).tolist() == []


def means(*voices: int, seed: int = 0) -> Any:
    return np.stack([windows(v, 30, seed * 10 + v).mean(axis=0) for v in voices])


def test_a_speaker_of_two_stretches_is_linked_and_a_new_one_is_not() -> None:
    one, two, three = means(0, 1, seed=1), means(1, 2, seed=2), means(2, 0, 3, seed=3)
    weights = [np.ones(2), np.ones(2), np.ones(3)]
    numbers = link_speakers([one, two, three], weights, 0.06)
    assert numbers[0][1] == numbers[1][0]  # voice 1
    assert numbers[0][0] == numbers[2][1]  # voice 0
    assert numbers[1][1] == numbers[2][0]  # voice 2
    assert len({number for part in numbers for number in part}) == 4


def test_two_speakers_of_one_stretch_are_never_linked_not_even_through_a_third() -> None:
    twins = np.stack([means(0, seed=1)[0], means(0, seed=2)[0]])
    numbers = link_speakers([twins, means(0, seed=3)], [np.ones(2), np.ones(1)], 0.06)
    assert numbers[0][0] != numbers[0][1]
    assert numbers[1][0] in numbers[0]


def test_one_stretch_keeps_its_speakers() -> None:
    assert link_speakers([means(0, 1)], [np.ones(2)], 0.06) == [[0, 1]]
