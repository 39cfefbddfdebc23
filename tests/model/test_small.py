"""`model/small.py`: sizes, and how much of what is said is speech."""

from model import MiMoAudio, medium_spec, small_model, small_spec
from model.generate import Request, generate
from model.sampling import Sampling
from model.small import small_special_tokens, speaking_half
from model.spec import ModelSpec
from tests.model.make_ids import make_ids


def count(spec: ModelSpec) -> int:
    model = MiMoAudio.without_storage(spec, small_special_tokens())
    return sum(parameter.numel() for parameter in model.parameters())


def test_sizes_are_what_their_names_say() -> None:
    assert 1e6 < count(small_spec()) < 3e6
    assert 80e6 < count(medium_spec()) < 120e6


def test_about_half_of_what_it_says_is_speech() -> None:
    model = speaking_half(small_model())
    prompts = [make_ids(model.spec, model.special_tokens, 9, seed).numpy() for seed in range(4)]
    text, speech = Sampling(temperature=0.6), (Sampling(),)
    found = generate(
        model,
        [
            Request(prompt=prompt, text=text, speech=speech, max_new=30, seed=seed)
            for seed, prompt in enumerate(prompts)
        ],
    )
    empty = model.special_tokens.empty
    share = sum(float((one.ids[0] == empty).mean()) for one in found) / len(found)
    assert 0.3 < share < 0.8
