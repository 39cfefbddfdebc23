"""`model/speak.py`: text and sound as they come, and the same in the end."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from model import MiMoAudio, small_model
from model.generate import Group, Request, generate, generate_groups
from model.sampling import GREEDY, Sampling
from model.small import speaking_half
from model.speak import check_tokenizer, speak
from model.tasks import Tasks
from model.text import TextTokenizer
from schemas.errors import ModelError
from tokenizer import Tokenizer, small_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return small_tokenizer()


@pytest.fixture(scope="module")
def model() -> MiMoAudio:
    return speaking_half(small_model())


@pytest.fixture(scope="module")
def tasks(model: MiMoAudio) -> Tasks:
    return Tasks(TextTokenizer.of_bytes(), empty_codes=model.spec.empty_codes)


def request_of(tasks: Tasks, text: str, **changes: object) -> Request:
    settings = {"text": GREEDY, "speech": (Sampling(),), "max_new": 30, **changes}
    return Request(prompt=tasks.tts(text).ids, **settings)  # type: ignore[arg-type]


def answer(text: TextTokenizer, written: str, codes: np.ndarray) -> Iterator[Group]:
    """An answer as a model would give it: text, then speech, then its end."""
    special = text.special
    for text_id in text.encode(written):
        yield Group(request=0, text_id=text_id, codes=None, finish=None)
    for patch in codes.reshape(-1, 4, codes.shape[1]):
        yield Group(request=0, text_id=special.empty, codes=patch, finish=None)
    yield Group(request=0, text_id=special.eostm, codes=None, finish="stop")


def test_streamed_is_the_whole(model: MiMoAudio, tasks: Tasks, tokenizer: Tokenizer) -> None:
    requests = [request_of(tasks, "One."), request_of(tasks, "Two or three.", max_new=22, seed=1)]
    replies = [tasks.read_reply(found.ids) for found in generate(model, requests)]
    said = list(speak(generate_groups(model, requests), requests, tasks, tokenizer))
    for number, reply in enumerate(replies):
        own = [piece for piece in said if piece.request == number]
        assert [piece.last for piece in own] == [False] * (len(own) - 1) + [True]
        assert "".join(piece.text for piece in own).strip() == reply.text
        assert reply.codes is not None
        patches = [piece.codes for piece in own if piece.codes is not None]
        assert np.array_equal(np.concatenate(patches), reply.codes)
        samples = [piece.waveform for piece in own if piece.waveform is not None]
        assert sum(map(len, samples)) == len(reply.codes) * tokenizer.samples_per_frame


def test_sound_comes_before_the_end(tasks: Tasks, tokenizer: Tokenizer) -> None:
    codes = np.random.default_rng(0).integers(0, 128, (100, 8))
    requests = [request_of(tasks, "One.")]
    groups = answer(tasks.text, "Hé", codes)
    said = list(speak(groups, requests, tasks, tokenizer, chunk_frames=12))
    # A character of two bytes comes when it is whole.
    assert [piece.text for piece in said if piece.text] == ["H", "é"]
    pieces = [piece for piece in said if piece.waveform is not None]
    assert len(pieces) > 3
    whole = np.concatenate([piece.waveform for piece in pieces if piece.waveform is not None])
    streamed = list(tokenizer.stream_decode(torch.from_numpy(codes), chunk_frames=12))
    assert np.array_equal(whole, torch.cat(streamed).numpy())
    assert said[-1].last


def test_patches_outside_of_speech_are_not_spoken(tasks: Tasks) -> None:
    prompt = tasks.asr(np.zeros((4, 8), np.int64)).ids
    requests = [Request(prompt=prompt, text=GREEDY, speech=(GREEDY,))]
    codes = np.zeros((8, 8), np.int64)
    assert not [
        piece
        for piece in speak(answer(tasks.text, "a", codes), requests, tasks)
        if piece.codes is not None
    ]
    spoken = answer(tasks.text, "thoughts<|sostm|>a", codes)
    assert len([1 for piece in speak(spoken, requests, tasks) if piece.codes is not None]) == 2


def test_a_tokenizer_of_other_codebooks_is_refused(tasks: Tasks, tokenizer: Tokenizer) -> None:
    check_tokenizer(tokenizer, tokenizer.codebook_sizes[:8])
    with pytest.raises(ModelError, match=r"here: codebooks of \[.*\] codes, the model wants \[64"):
        check_tokenizer(tokenizer, (64,) * 8, where="here")
    with pytest.raises(ModelError, match="chunk_frames is 0"):
        list(speak([], [], tasks, chunk_frames=0))
