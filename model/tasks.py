"""The tasks: from text, speech and roles to the grid that is read, and to what is trained on it.

A task called without a reply gives the prompt; called with one it gives the training example, which
begins with that very prompt. Texts of a caller may not hold special tokens; codes are `[F, C]`,
whole groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from model.layout import FILLER, Codes, Grid, Layout
from model.reply import Reply, needs, read_reply
from model.segments import Segment, Speech, Spoken, Text, pieces_of
from model.special_tokens import WRITTEN_FORMS
from model.text import TextTokenizer
from model.wording import Wording
from schemas.errors import ModelError

SYSTEM = "<|im_start|>system\n"
USER = "<|im_start|>user\n"
ASSISTANT = "<|im_start|>assistant\n"
END = "<|im_end|>\n"
THINK = "<think>\n"
THOUGHT = "\n</think>\n"
SPEAK = "<|sostm|>"
DOCUMENT_END = "<|endoftext|>"

Modality = Literal["text", "speech"]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Opening:
    """How the assistant's turn begins, and what must follow."""

    segments: tuple[Text, ...]
    spoken: bool
    thinking: bool


_AT_ONCE = _Opening(segments=(Text(ASSISTANT), Text(THINK + THOUGHT)), spoken=False, thinking=False)
_THOUGHTFUL = _Opening(segments=(Text(ASSISTANT), Text(THINK)), spoken=False, thinking=True)
_SPEAKING = _Opening(segments=(Text(ASSISTANT + SPEAK),), spoken=True, thinking=False)
_STYLED = _Opening(segments=(Text(ASSISTANT + THINK),), spoken=True, thinking=True)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Example:
    """Both `[1 + C, T]` int64. Labels repeat the ids of the reply and are -100 before it."""

    ids: Grid
    labels: Grid


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One turn of a dialogue: text, codes, or, of the assistant, both."""

    role: Literal["user", "assistant"]
    text: str | None = None
    codes: Codes | None = None


class Tasks:
    """One method per task; each takes `reply` to train on. All raise `ModelError`."""

    def __init__(
        self,
        text: TextTokenizer,
        *,
        empty_codes: Sequence[int],
        group_size: int = 4,
        wording: Wording | None = None,
    ) -> None:
        self.text = text
        self.layout = Layout(
            special=text.special, empty_codes=tuple(empty_codes), group_size=group_size
        )
        self.wording = wording or Wording.own()

    def asr(self, codes: Codes, *, reply: Reply | None = None, seed: int = 0) -> Example:
        """Speech recognition; `seed` draws the request."""
        request = self.wording.asr(seed)
        prompt = (Text(USER), Speech(codes), Text(request), Text(END))
        return self._chat(prompt, _AT_ONCE, reply)

    def tts(self, text: str, *, reply: Reply | None = None, seed: int = 0) -> Example:
        """Reads a text aloud; text in one case only is put into sentence case."""
        request = self._request(text, "", seed)
        return self._chat([Text(f"{USER}{request}{END}")], _SPEAKING, reply)

    def instruct_tts(
        self,
        text: str,
        instruction: str,
        *,
        voice: Codes | None = None,
        reply: Reply | None = None,
        seed: int = 0,
    ) -> Example:
        """Reads a text aloud in the style asked for, in the voice of a recording if one is given.

        The model thinks first, so its speech begins only after that.
        """
        request = self._request(text, f"({_plain(instruction)})", seed)
        return self._styled(request, voice, reply)

    def natural_tts(
        self, text: str, *, voice: Codes | None = None, reply: Reply | None = None
    ) -> Example:
        """The same with text and style in one sentence of the user's own, and no request."""
        return self._styled(_sentence_case(_plain(text)), voice, reply)

    def understand(
        self, codes: Codes, question: str, *, thinking: bool = False, reply: Reply | None = None
    ) -> Example:
        """A question about a recording."""
        prompt = (Text(USER), Speech(codes), Text(_plain(question)), Text(END))
        return self._chat(prompt, _THOUGHTFUL if thinking else _AT_ONCE, reply)

    def dialogue(
        self,
        turns: Sequence[Turn],
        *,
        answer: Modality,
        system: str | None = None,
        voice: Codes | None = None,
        thinking: bool = False,
        reply: Reply | None = None,
    ) -> Example:
        """The next turn of a dialogue, in text or speech; user and assistant take turns.

        `system` opens the first user turn; `voice` is the recording to sound like. To go on from a
        grid that was generated, join it and the prompt of the new turn (`Layout.join`).
        """
        roles = [turn.role for turn in turns]
        if roles != ["user", "assistant"] * (len(turns) // 2) + ["user"]:
            raise ModelError(
                f"dialogue of {roles}: wanted user, assistant, user, ... with a user's turn last"
            )
        if answer == "speech" and thinking:
            raise ModelError("spoken dialogue with thinking: only text replies are thought over")
        if answer == "text" and voice is not None:
            raise ModelError("dialogue in text with a voice: a voice needs a spoken answer")
        prompt: list[Segment] = []
        if voice is not None:
            prompt = [Text(SYSTEM), Text(self.wording.voice), Speech(voice), Text(END)]
        for number, turn in enumerate(turns):
            prompt.append(Text(USER if turn.role == "user" else ASSISTANT))
            if system is not None and number == 0:
                prompt += [Text(_plain(system)), Text("\n\n")]
            prompt += [_said_in(turn), Text(END)]
        if answer == "speech":
            return self._chat(prompt, _SPEAKING, reply)
        return self._chat(prompt, _THOUGHTFUL if thinking else _AT_ONCE, reply)

    def in_context_speech(
        self,
        instruction: str,
        examples: Sequence[tuple[Codes, Spoken]],
        codes: Codes,
        *,
        reply: Reply | None = None,
    ) -> Example:
        """Speech to speech by examples, for a base model: pairs of input and output."""
        prompt: list[Segment] = [Text(f"[Int]:{_plain(instruction)}\n")]
        for heard, spoken in examples:
            prompt += [Speech(heard), Text("\n"), _checked(spoken), Text(" \n\n")]
        prompt += [Speech(codes), Text("\n"), Text(SPEAK)]
        return self._document(prompt, reply, spoken=True)

    def few_shot(
        self, items: Sequence[Segment], *, answer: Modality, reply: Reply | None = None
    ) -> Example:
        """Any items in order, for a base model, that make plain what comes next."""
        written = {isinstance(item, Text) for item in items} | {answer == "text"}
        tag = {(False,): "<Spe>:", (True,): "", (False, True): "[Int]:"}[tuple(sorted(written))]
        prompt: list[Segment] = [Text(tag)] if tag else []
        prompt += [_checked(item) for item in items]
        prompt += [Text(SPEAK)] if answer == "speech" else []
        return self._document(prompt, reply, spoken=answer == "speech")

    def continue_speech(self, codes: Codes, *, reply: Reply | None = None) -> Example:
        """Goes on speaking after a recording."""
        return self.few_shot([Speech(codes)], answer="speech", reply=reply)

    def few_shot_question(
        self,
        examples: Sequence[tuple[Codes, str, str]],
        codes: Codes,
        question: str,
        *,
        reply: Reply | None = None,
    ) -> Example:
        """A question about a recording, after examples of recording, question and answer."""
        prompt: list[Segment] = [Text("[Int]:")]
        for heard, asked, answered in examples:
            prompt += [
                Speech(heard),
                Text(f"Question: {_plain(asked)}"),
                Text(f"Answer: {_plain(answered)}\n\n"),
            ]
        prompt += [Speech(codes), Text(f"Question: {_plain(question)}"), Text("\nAnswer:")]
        return self._document(prompt, reply, spoken=False, before=" ")

    def read_reply(self, ids: Grid) -> Reply:
        """The reply in a generated grid: see `model.reply.read_reply`."""
        return read_reply(ids, text=self.text, layout=self.layout)

    def _request(self, text: str, style: str, seed: int) -> str:
        said = _sentence_case(_plain(text))
        return f"{self.wording.tts(said, seed)}: {said}{style}"

    def _styled(self, request: str, voice: Codes | None, reply: Reply | None) -> Example:
        prompt: list[Segment] = [Text(SYSTEM)]
        if voice is None:
            prompt += [Text(self.wording.style_system)]
        else:
            prompt += [Text(self.wording.style_voice_system), Speech(voice)]
        prompt += [Text(END), Text(f"{USER}{request}{END}")]
        return self._chat(prompt, _STYLED, reply)

    def _chat(self, prompt: Sequence[Segment], opening: _Opening, reply: Reply | None) -> Example:
        prompt = [*prompt, *opening.segments]
        if reply is None:
            return self._laid(prompt, [])
        needs(reply, spoken=opening.spoken, thinking=opening.thinking)
        thoughts = [Text(_plain(reply.thoughts) + THOUGHT)] if opening.thinking else []
        return self._laid(prompt, [*thoughts, _said_by(reply), Text(END)])

    def _document(
        self, prompt: Sequence[Segment], reply: Reply | None, *, spoken: bool, before: str = ""
    ) -> Example:
        if reply is None:
            return self._laid(prompt, [])
        needs(reply, spoken=spoken, thinking=False)
        return self._laid(prompt, [_said_by(reply, before), Text(DOCUMENT_END)])

    def _laid(self, prompt: Sequence[Segment], reply: Sequence[Segment]) -> Example:
        """A `<|sostm|>` at the end of the prompt is the reply's own, laid once and trained."""
        prompt_T = self.layout.lay(pieces_of(prompt, self.text))
        reply_T = self.layout.lay(pieces_of(reply, self.text))
        untrained = prompt_T.shape[1]
        if reply and self.layout.text_ids(prompt_T)[-1] == self.text.special.sostm:
            untrained -= self.layout.group_size
        ids = self.layout.join([prompt_T[:, :untrained], reply_T]) if reply else prompt_T
        labels = ids.copy()
        labels[:, :untrained] = FILLER
        return Example(ids=ids, labels=labels)


def _said_in(turn: Turn) -> Segment:
    match turn:
        case Turn(role="assistant", text=str(text), codes=codes) if codes is not None:
            return _checked(Spoken(text, codes))
        case Turn(role="user", text=None, codes=codes) if codes is not None:
            return Speech(codes)
        case Turn(text=str(text), codes=None):
            return _checked(Text(text))
    raise ModelError(
        f"turn of the {turn.role}: wanted text or codes of a user, and of an assistant text, or "
        "text and codes"
    )


def _said_by(reply: Reply, before: str = "") -> Segment:
    text = before + _plain(reply.text)
    return Text(text) if reply.codes is None else Spoken(text, reply.codes)


def _checked(segment: Segment) -> Segment:
    if not isinstance(segment, Speech):
        _plain(segment.text)
    return segment


def _plain(text: str) -> str:
    """The text itself, unless it would pass for structure."""
    for form in WRITTEN_FORMS.values():
        if form in text:
            raise ModelError(f"text {text[:40]!a} holds {form}, which is structure; take it out")
    return text


def _sentence_case(text: str) -> str:
    return text.capitalize() if text.isupper() or text.islower() else text
