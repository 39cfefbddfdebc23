"""`model/small.py`: sizes."""

from model import MiMoAudio, medium_spec, small_spec
from model.small import small_special_tokens
from model.spec import ModelSpec


def count(spec: ModelSpec) -> int:
    model = MiMoAudio.without_storage(spec, small_special_tokens())
    return sum(parameter.numel() for parameter in model.parameters())


def test_sizes_are_what_their_names_say() -> None:
    assert 1e6 < count(small_spec()) < 3e6
    assert 80e6 < count(medium_spec()) < 120e6
