"""`model/generate.py`: several requests at once, each as it is alone."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from model import MiMoAudio, small_model
from model.generate import Request, generate, generate_groups
from model.sampling import GREEDY, Sampling
from model.small import speaking_half
from schemas.errors import ModelError
from tests.model.make_ids import make_ids

SAMPLED = {"text": Sampling(temperature=0.8), "speech": (Sampling(temperature=0.9, top_p=0.95),)}
GREEDILY = {"text": GREEDY, "speech": (GREEDY,)}


@pytest.fixture(scope="module")
def model() -> MiMoAudio:
    return speaking_half(small_model())


def request(model: MiMoAudio, num_groups: int, seed: int = 0, **changes: Any) -> Request:
    prompt = make_ids(model.spec, model.special_tokens, num_groups, seed).numpy()
    return Request(**{"prompt": prompt, "seed": seed, "max_new": 12, **GREEDILY, **changes})


def text_ids(ids: np.ndarray) -> list[int]:
    return ids[0, ::4].tolist()


@pytest.mark.parametrize("settings", [GREEDILY, SAMPLED])
def test_together_as_alone(model: MiMoAudio, settings: dict[str, Any]) -> None:
    requests = [
        request(model, groups, seed=groups, max_new=new, **settings)
        for groups, new in ((3, 20), (40, 9), (1, 14), (17, 20))
    ]
    together = generate(model, requests)
    spoken = 0
    for found, one, new in zip(together, requests, (20, 9, 14, 20), strict=True):
        (alone,) = generate(model, [one])
        assert np.array_equal(found.ids, alone.ids)
        assert found.ids.shape == (9, new * 4)
        assert found.finish == "length"
        spoken += text_ids(found.ids).count(model.special_tokens.empty)
    assert 10 < spoken < 53


def test_company_of_other_settings_changes_nothing(model: MiMoAudio) -> None:
    one = request(model, 8, seed=5, **SAMPLED)
    (alone,) = generate(model, [one])
    company = [request(model, 20, seed=6), one, replace(one, seed=7), replace(one, max_new=3)]
    together = generate(model, company)
    assert np.array_equal(together[1].ids, alone.ids)
    assert not np.array_equal(together[2].ids, alone.ids)
    assert np.array_equal(together[3].ids, alone.ids[:, :12])


def test_channels_may_have_settings_of_their_own(model: MiMoAudio) -> None:
    greedy = request(model, 8, max_new=1)
    first = generate(model, [greedy])[0]
    empty = model.special_tokens.empty
    groups = 8
    while text_ids(first.ids) != [empty]:
        groups += 1
        greedy = request(model, groups, max_new=1)
        first = generate(model, [greedy])[0]
    speech = (*[GREEDY] * 7, Sampling(temperature=50.0))
    last = generate(model, [replace(greedy, speech=speech)])[0]
    # In the first frame the last channel is chosen after all others.
    assert np.array_equal(first.ids[:8, 0], last.ids[:8, 0])
    assert first.ids[8, 0] != last.ids[8, 0]


def test_groups_come_one_by_one_and_are_the_whole(model: MiMoAudio) -> None:
    requests = [request(model, 5, max_new=6), request(model, 9, seed=1, max_new=4)]
    whole = generate(model, requests)
    groups = list(generate_groups(model, requests))
    assert [group.request for group in groups] == [0, 1] * 4 + [0, 0]
    for number, found in enumerate(whole):
        own = [group for group in groups if group.request == number]
        assert [group.text_id for group in own] == text_ids(found.ids)
        assert [group.finish for group in own] == [None] * (len(own) - 1) + ["length"]
        for place, group in enumerate(own):
            of_group = found.ids[1:, place * 4 : place * 4 + 4].T
            if group.codes is None:
                assert (of_group == np.array(model.spec.empty_codes)).all()
            else:
                assert np.array_equal(group.codes, of_group)
                assert (group.codes < np.array(model.spec.empty_codes)).all()


def test_a_stop_id_ends_its_request_alone(model: MiMoAudio) -> None:
    first, second = request(model, 6, max_new=20), request(model, 11, seed=1, max_new=20)
    free = generate(model, [first])[0]
    ids = text_ids(free.ids)
    stop = next(text_id for text_id in ids[2:] if text_id != model.special_tokens.empty)
    at = ids.index(stop)
    stopping = replace(first, stop_ids=frozenset({stop}))
    found = generate(model, [stopping, second])
    assert np.array_equal(found[0].ids, free.ids[:, : (at + 1) * 4])
    assert found[0].finish == "stop"
    assert np.array_equal(found[1].ids, generate(model, [second])[0].ids)


def test_a_stop_id_is_not_drawn_too_early(model: MiMoAudio) -> None:
    one = request(model, 6, max_new=16)
    ids = text_ids(generate(model, [one])[0].ids)
    stops = frozenset(ids)
    assert len(generate(model, [replace(one, stop_ids=stops)])[0].ids[0]) == 4
    found = generate(model, [replace(one, stop_ids=stops, min_new=5)])[0]
    assert not stops & set(text_ids(found.ids)[:5])
    assert len(text_ids(found.ids)) > 5


def test_the_context_ends_every_answer() -> None:
    model = small_model()
    model.spec = replace(model.spec, context_groups=24)
    requests = [request(model, 20, max_new=None), request(model, 2, max_new=22)]
    found = generate(model, requests)
    assert [one.ids.shape[1] // 4 for one in found] == [4, 22]
    assert [one.finish for one in found] == ["length", "length"]
    with pytest.raises(ModelError, match="request 1: a prompt of 24 groups leaves no room in the"):
        generate(model, [requests[0], request(model, 24)])


def test_an_answer_and_a_new_prompt_go_on_as_one(model: MiMoAudio) -> None:
    one = request(model, 6, max_new=5)
    answer = generate(model, [one])[0]
    history = np.concatenate([one.prompt, answer.ids], axis=1)
    longer = generate(model, [replace(one, max_new=8)])[0]
    found = generate(model, [replace(one, prompt=history, max_new=3)])[0]
    assert np.array_equal(found.ids, longer.ids[:, 20:])


def test_nothing_asked_is_nothing_answered(model: MiMoAudio) -> None:
    assert generate(model, []) == []


def test_what_cannot_be_asked_is_refused(model: MiMoAudio) -> None:
    with pytest.raises(ModelError, match="max_new is 0, wanted 1 group or more"):
        request(model, 3, max_new=0)
    with pytest.raises(ModelError, match="min_new is -1"):
        request(model, 3, min_new=-1)
    with pytest.raises(ModelError, match="speech has settings for 2 channels, wanted one for all"):
        generate(model, [request(model, 3, speech=(GREEDY, GREEDY))])
    bad = request(model, 30)
    bad.prompt[3, np.flatnonzero(bad.prompt[0] == model.special_tokens.empty)[0]] = 2000
    with pytest.raises(ModelError, match=r"row 0, frame .*, channel 2: code 2000"):
        generate(model, [bad])
    training = small_model().train()
    with pytest.raises(ModelError, match=r"training mode.*model\.eval"):
        generate(training, [request(model, 3)])
