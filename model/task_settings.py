"""How each task is answered: the published sampling, and the tokens that end an answer.

Sampling is that of the published model's code; for few-shot tasks, which it calls by no name, that
of its other tasks. Stop tokens of few-shot tasks are those of its evaluation toolkit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from model.generate import Request
from model.layout import Grid
from model.sampling import GREEDY, Sampling
from model.special_tokens import SpecialTokens

TaskKind = Literal[
    "asr",
    "tts",
    "understand",
    "spoken_dialogue",
    "speech_to_text_dialogue",
    "text_dialogue",
    "in_context_speech",
    "few_shot_text",
    "few_shot_speech",
    "few_shot_question",
]

_SPEECH = Sampling(temperature=0.9, top_p=0.95)
_OTHER_TEXT = Sampling(temperature=0.6, top_k=50, top_p=0.95)
_OTHER_SPEECH = Sampling(temperature=0.9, top_k=50, top_p=0.95)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Settings:
    text: Sampling
    speech: Sampling = _SPEECH
    stops: tuple[str, ...]
    """Fields of `SpecialTokens`."""


_TEXT_ENDS = ("endoftext", "im_end")
_SPEECH_ENDS = ("endoftext", "eostm", "im_end")
_DIALOGUE = Sampling(temperature=0.6, top_p=0.95)
_SETTINGS: Mapping[TaskKind, _Settings] = {
    "asr": _Settings(text=GREEDY, stops=_TEXT_ENDS),
    "tts": _Settings(text=Sampling(temperature=0.6, top_p=1.0), stops=_SPEECH_ENDS),
    "understand": _Settings(text=Sampling(temperature=0.3, top_p=0.95), stops=_TEXT_ENDS),
    "spoken_dialogue": _Settings(text=_DIALOGUE, stops=_SPEECH_ENDS),
    "speech_to_text_dialogue": _Settings(text=_DIALOGUE, stops=_TEXT_ENDS),
    "text_dialogue": _Settings(text=Sampling(temperature=0.4, top_p=0.95), stops=_TEXT_ENDS),
    "in_context_speech": _Settings(text=GREEDY, stops=("endoftext", "eostm")),
    "few_shot_text": _Settings(text=_OTHER_TEXT, speech=_OTHER_SPEECH, stops=("endoftext",)),
    "few_shot_speech": _Settings(
        text=_OTHER_TEXT, speech=_OTHER_SPEECH, stops=("endoftext", "eostm")
    ),
    "few_shot_question": _Settings(
        text=_OTHER_TEXT, speech=_OTHER_SPEECH, stops=("endoftext", "sosp")
    ),
}


def request_for(
    task: TaskKind, prompt: Grid, special_tokens: SpecialTokens, **changes: Any
) -> Request:
    """The request of a prompt with its task's settings; `changes` are other fields of `Request`."""
    settings = _SETTINGS[task]
    request = Request(
        prompt=prompt,
        text=settings.text,
        speech=(settings.speech,),
        stop_ids=frozenset(getattr(special_tokens, name) for name in settings.stops),
    )
    return replace(request, **changes)
