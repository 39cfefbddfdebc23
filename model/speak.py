"""Text and sound of answers while they are still being generated."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.generate import Group, Request
from model.layout import Codes
from model.tasks import Tasks
from model.text import HALF_A_CHARACTER, TextTokenizer
from schemas.errors import ModelError
from tokenizer import Tokenizer
from tokenizer.streaming import StreamDecoder

CHUNK_FRAMES = 24
"""About a second of codes: each chunk is decoded anew with up to ten seconds before it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Said:
    """What one request's answer has become longer by."""

    request: int
    text: str = ""
    """Special tokens in their written form, but for those that only give structure."""
    codes: Codes | None = None
    """A patch `[G, C]`, as soon as it is there."""
    waveform: npt.NDArray[np.float32] | None = None
    """Samples, about a second behind the codes."""
    last: bool = False


def check_tokenizer(
    tokenizer: Tokenizer, empty_codes: Sequence[int], *, where: str = "tokenizer"
) -> None:
    """Raises `ModelError` unless the tokenizer's first codebooks have the model's sizes."""
    found = tokenizer.codebook_sizes[: len(empty_codes)]
    if found != tuple(empty_codes):
        raise ModelError(
            f"{where}: codebooks of {list(found)} codes, the model wants {list(empty_codes)}; take "
            "the audio tokenizer that it was trained with"
        )


def speak(
    groups: Iterable[Group],
    requests: Sequence[Request],
    tasks: Tasks,
    tokenizer: Tokenizer | None = None,
    *,
    chunk_frames: int = CHUNK_FRAMES,
) -> Iterator[Said]:
    """The pieces of all answers as `groups` (of `generate_groups`) come.

    An answer's texts joined are the text of `read_reply`, but for white space at its ends. Its
    speech is what lies between a `<|sostm|>`, of the prompt or its own, and `<|eostm|>`; the joined
    waveform is close to what decoding it whole gives, and as long. Without a tokenizer there are
    patches and no waveforms.
    """
    if chunk_frames < 1:
        raise ModelError(f"chunk_frames is {chunk_frames}, wanted 1 or more")
    answers = [
        _Answer(
            text=tasks.text,
            speaking=tasks.layout.text_ids(request.prompt)[-1] == tasks.text.special.sostm,
            voice=None if tokenizer is None else _Voice(tokenizer, chunk_frames),
        )
        for request in requests
    ]
    for group in groups:
        yield from answers[group.request].take(group)


@dataclass(kw_only=True, slots=True)
class _Answer:
    text: TextTokenizer
    speaking: bool
    voice: "_Voice | None"
    waiting_ids: list[int] = field(default_factory=list)

    def take(self, group: Group) -> Iterator[Said]:
        special = self.text.special
        last = group.finish is not None
        said, codes, samples = "", None, []
        if group.codes is not None and self.speaking:
            codes = group.codes
            if self.voice is not None:
                samples += self.voice.hear(codes)
        if group.text_id == special.sostm:
            self.speaking = True
        elif group.text_id == special.eostm:
            self.speaking = False
        # The group that ends the run says nothing: it is the stop token, or cut off.
        if not last and group.text_id not in (special.empty, special.eot, special.eostm):
            self.waiting_ids.append(group.text_id)
        if self.waiting_ids:
            said = self.text.decode(self.waiting_ids)
            if said.endswith(HALF_A_CHARACTER) and not last:
                said = ""
            else:
                self.waiting_ids = []
        if last and self.voice is not None:
            samples += self.voice.end()
        if said or codes is not None or samples or last:
            yield Said(
                request=group.request,
                text=said,
                codes=codes,
                waveform=np.concatenate([piece.numpy() for piece in samples]) if samples else None,
                last=last,
            )


class _Voice:
    """One answer's stream decoder; it gets the last codes together with the news of their end."""

    def __init__(self, tokenizer: Tokenizer, chunk_frames: int) -> None:
        self._decoder = StreamDecoder(tokenizer)
        self._chunk_frames = chunk_frames
        self._waiting: list[Tensor] = []

    def hear(self, codes: Codes) -> list[Tensor]:
        samples = []
        if sum(len(chunk) for chunk in self._waiting) >= self._chunk_frames:
            samples = self._decoder.step([torch.cat(self._waiting)])
            self._waiting = []
        self._waiting.append(torch.from_numpy(codes))
        return [piece for piece in samples if len(piece)]

    def end(self) -> list[Tensor]:
        if not self._waiting:
            return []
        return self._decoder.step([torch.cat(self._waiting)], last=True)
