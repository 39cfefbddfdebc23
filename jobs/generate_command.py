"""`audiomill generate`: one question to the language model, its answer in text and speech."""

import os
import sys
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.generate_questions import Asked, Prompts
from jobs.tokenizer_command import tokenizer_spec, write_wav
from jobs.tokenizers import open_tokenizer
from pipeline.shown_text import clean
from schemas.codes import Waveform
from schemas.errors import ModelError, SpecError

if TYPE_CHECKING:  # torch is heavy, and most commands open no model
    from model import MiMoAudio
    from model.generate import Request
    from model.sampling import Sampling
    from model.tasks import Tasks
    from tokenizer import Tokenizer


EXIT_ANSWERED = 0
EXIT_NO_SPEECH = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """What came back."""

    text: str
    num_groups: int
    finish: str
    """`stop` at a stop token, `length` where it was cut off."""
    audio_s: float
    """Of the speech that was written; 0 for none."""


class Generator:
    """A model, its tasks and its audio tokenizer; answers one question after another."""

    def __init__(self, model: "MiMoAudio", tasks: "Tasks", tokenizer: "Tokenizer") -> None:
        """Raises `ModelError` if the tokenizer is not the model's."""
        from model.fingerprint import require_same_tokenizer
        from model.speak import check_tokenizer

        check_tokenizer(tokenizer, model.spec.empty_codes)
        if model.audio_tokenizer is not None:
            require_same_tokenizer(
                tokenizer.fingerprint(), model.audio_tokenizer, where="--tokenizer"
            )
        self.model = model
        self.tasks = tasks
        self.tokenizer = tokenizer
        self._prompts = Prompts(tasks, tokenizer)

    @classmethod
    def open(cls, model: str | None, tokenizer: str | None, device: str) -> "Generator":
        """From folders. Without a model it is a tiny untrained one, without a tokenizer the bundled
        one."""
        from model import MiMoAudio, small_model
        from model.fingerprint import noted_tokenizer
        from model.small import speaking_half
        from model.tasks import Tasks
        from model.text import TextTokenizer
        from model.wording import Wording

        audio = open_tokenizer(tokenizer_spec(tokenizer, device, 8))
        if model is None:
            text, wording = TextTokenizer.of_bytes(), None
            loaded = speaking_half(small_model()).to(device)
        else:
            import torch

            if tokenizer is None and noted_tokenizer(model) is None:
                raise ModelError(
                    f"{model}: does not say which audio tokenizer it was trained with; name its "
                    "folder with --tokenizer"
                )
            text, wording = TextTokenizer.from_folder(model), Wording.beside(model)
            dtype = torch.bfloat16 if device == "cuda" else torch.float32
            loaded = MiMoAudio.from_pretrained(model, text.special, device=device, dtype=dtype)
        tasks = Tasks(
            text,
            empty_codes=loaded.spec.empty_codes,
            group_size=loaded.spec.group_size,
            wording=wording,
        )
        return cls(loaded, tasks, audio)

    def request(self, asked: Asked, *, seed: int = 0, **changes: Any) -> "Request":
        """The request that a question becomes; `changes` are other fields of `Request`."""
        from model.task_settings import request_for

        kind, prompt = self._prompts.make(asked, seed)
        special = self.model.special_tokens
        return request_for(kind, prompt, special, seed=seed, **changes)

    def answer(self, request: "Request", out: Path | None) -> Answered:
        """The whole answer; its speech goes to `out` as WAV."""
        from model.generate import generate

        (generated,) = generate(self.model, [request])
        reply = self.tasks.read_reply(generated.ids)
        num_samples = 0
        if out is not None and reply.codes is not None:
            samples = self.tokenizer.decode_numpy(reply.codes)
            write_wav(out, samples, self.tokenizer.sample_rate_hz)
            num_samples = len(samples)
        return Answered(
            text=reply.text,
            num_groups=generated.ids.shape[1] // self.model.spec.group_size,
            finish=generated.finish,
            audio_s=num_samples / self.tokenizer.sample_rate_hz,
        )

    def stream(self, request: "Request", out: Path | None) -> Iterator[str | Answered]:
        """Text as it comes, then the whole; meanwhile the speech grows in `out`."""
        from model.generate import Group, generate_groups
        from model.speak import speak

        groups: list[Group] = []

        def counted() -> Iterator[Group]:
            for group in generate_groups(self.model, [request]):
                groups.append(group)
                yield group

        texts, num_samples = [], 0
        rate_hz = self.tokenizer.sample_rate_hz
        voice = None if out is None else self.tokenizer
        with _growing_wav(out, rate_hz) as write:
            for said in speak(counted(), [request], self.tasks, voice):
                if said.waveform is not None:
                    write(said.waveform)
                    num_samples += len(said.waveform)
                if said.text:
                    texts.append(said.text)
                    yield said.text
        yield Answered(
            text="".join(texts).strip(),
            num_groups=len(groups),
            finish=groups[-1].finish or "length",
            audio_s=num_samples / rate_hz,
        )


def ask(
    asked: Asked,
    *,
    model: str | None,
    tokenizer: str | None,
    device: str,
    out: Path | None,
    stream: bool,
    seed: int,
    max_new: int,
    text_sampling: str | None,
    speech_sampling: str | None,
) -> int:
    """The command: prints the answer, and returns the exit code: 3 where `out` was to get speech
    and the answer has none. Everything is checked before a model is opened.

    What a model writes is shown without control characters, and streamed piece by piece.

    Remarks (an untrained model, an answer that was cut off) go to stderr.
    """
    asked.check()
    _check_out(asked, out)
    changes: dict[str, Any] = {"max_new": max_new}
    if text_sampling is not None:
        changes["text"] = sampling_of(text_sampling)
    if speech_sampling is not None:
        changes["speech"] = (sampling_of(speech_sampling),)
    if model is None:
        remark("no --model: a tiny untrained model answers, and its answer is noise")
    generator = Generator.open(model, tokenizer, device)
    request = generator.request(asked, seed=seed, **changes)
    if stream:
        for piece in generator.stream(request, out):
            if isinstance(piece, str):
                _print(clean(piece))
            else:
                answered = piece
    else:
        answered = generator.answer(request, out)
        _print(clean(answered.text))
    _print("\n")
    if answered.finish == "length":
        remark(f"cut off after {answered.num_groups} groups; --max-new allows more")
    if answered.audio_s:
        _print(f"{out}: {answered.audio_s:.2f} s\n")
    elif out is not None:
        remark(f"no speech in the answer; {out} was not written")
        return EXIT_NO_SPEECH
    return EXIT_ANSWERED


def _print(piece: str) -> None:
    print(piece, end="", flush=True)


def _check_out(asked: Asked, out: Path | None) -> None:
    if asked.speaks and out is None:
        raise SpecError(f"{asked.task} answers in speech; name a WAV file with --out")
    if not asked.speaks and out is not None:
        raise SpecError(f"{asked.task} answers in text; leave --out out")
    if out is None:
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(f"--out {out}: {error.strerror}; name a file that can be made") from error
    if out.is_dir() or not os.access(out.parent, os.W_OK):
        raise SpecError(f"--out {out}: cannot be written; name a file that can be made")


def remark(line: str) -> None:
    """Beside the answer, not part of it."""
    print(f"audiomill: {line}", file=sys.stderr)


def sampling_of(written: str) -> "Sampling":
    """`temperature=0.6,top_k=50,top_p=0.95`, any of them. Raises `SpecError`."""
    from model.sampling import Sampling

    kinds: dict[str, Callable[[str], float]] = {"temperature": float, "top_k": int, "top_p": float}
    values: dict[str, Any] = {}
    for part in written.split(","):
        name, _, value = part.strip().partition("=")
        try:
            values[name] = kinds[name](value)
        except (KeyError, ValueError) as error:
            raise SpecError(
                f"sampling {written!r}: wanted temperature=NUMBER, top_k=COUNT, top_p=NUMBER, "
                f"found {part!r}"
            ) from error
    return Sampling(**values)


@contextmanager
def _growing_wav(out: Path | None, rate_hz: int) -> Iterator[Callable[[Waveform], None]]:
    """Writes what it is given at once, so that a player can follow; makes no file for nothing."""
    opened: list[wave.Wave_write] = []

    def write(samples: Waveform) -> None:
        if out is None:
            return
        if not opened:
            out.parent.mkdir(parents=True, exist_ok=True)
            file = wave.open(str(out), "wb")  # noqa: SIM115  (closed below)
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate_hz)
            opened.append(file)
        pcm = (np.clip(samples, -1.0, 1.0) * 32767).astype("<i2")
        opened[0].writeframes(pcm.tobytes())

    try:
        yield write
    finally:
        for file in opened:
            file.close()
