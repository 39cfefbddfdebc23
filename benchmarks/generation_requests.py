"""What the generation benchmarks ask: random prompts, half text and half speech."""

import dataclasses

import numpy as np

from model import MiMoAudio
from model.generate import Request
from model.sampling import GREEDY, Sampling

PROMPT_GROUPS = 128


def make_request(model: MiMoAudio, num_groups: int, new: int, seed: int) -> Request:
    """A prompt of text and speech by turns of five, as the model's own answers are."""
    spec, random = model.spec, np.random.default_rng(seed)
    is_audio = np.arange(num_groups) // 5 % 2 == 1
    frames = num_groups * spec.group_size
    rows = [np.repeat(np.where(is_audio, model.special_tokens.empty, 65), spec.group_size)]
    for empty in spec.empty_codes:
        codes = random.integers(0, empty, frames)
        rows.append(np.where(is_audio.repeat(spec.group_size), codes, empty))
    return Request(
        prompt=np.stack(rows).astype(np.int64),
        text=GREEDY,
        speech=(GREEDY,),
        max_new=new,
        seed=seed,
    )


def sampled(request: Request) -> Request:
    """The same, sampled as the published model samples TTS."""
    text, speech = Sampling(temperature=0.6), Sampling(temperature=0.9, top_p=0.95)
    return dataclasses.replace(request, text=text, speech=(speech,))
