"""What `audiomill generate` is asked, and the prompt that it becomes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from jobs.audio_files import AudioReader
from pipeline.inputs import list_inputs
from schemas.errors import ItemError, SpecError
from schemas.job import InputsSpec
from schemas.strict_yaml import MAX_BYTES, parse_content

if TYPE_CHECKING:  # torch is heavy, and most commands open no model
    from model.layout import Codes, Grid
    from model.segments import Segment
    from model.task_settings import TaskKind
    from model.tasks import Tasks, Turn
    from tokenizer import Tokenizer

_Value = TypeVar("_Value")

# Task -> what it must be given, and what it may be given.
TASKS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "asr": (frozenset({"audio"}), frozenset()),
    "tts": (frozenset({"text"}), frozenset()),
    "instruct-tts": (frozenset({"text"}), frozenset({"instruction", "voice"})),
    "understand": (frozenset({"audio", "text"}), frozenset({"think"})),
    "dialogue": (
        frozenset({"answer"}),
        frozenset({"text", "audio", "turns", "instruction", "voice", "think"}),
    ),
    "continue": (frozenset({"audio"}), frozenset()),
    "in-context": (frozenset({"audio", "turns", "instruction"}), frozenset()),
    "question": (frozenset({"audio", "text"}), frozenset({"turns"})),
    "few-shot": (frozenset({"answer", "turns"}), frozenset({"text", "audio"})),
}
_TEXT_OR_AUDIO = ("dialogue", "few-shot")
_NEVER_SPEAK = ("asr", "understand", "question")


class FileTurn(BaseModel):
    """One turn of a turns file: `[{"role": "user", "audio": "a.wav"}, ...]`.

    `audio` is a path from the file's folder. Users and assistants take turns.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["user", "assistant"]
    text: str | None = None
    audio: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What the command line gives a task; None and False are not given."""

    task: str
    text: str | None = None
    """What is said, asked or to be read aloud."""
    audio: Path | None = None
    """The recording that it is about, or what is said now."""
    turns: Path | None = None
    """Earlier turns, or examples: a turns file."""
    instruction: str | None = None
    voice: Path | None = None
    answer: str | None = None
    """`text` or `speech`."""
    think: bool = False

    @property
    def speaks(self) -> bool:
        """Whether speech is asked for."""
        return self.task not in _NEVER_SPEAK and self.answer != "text"

    def check(self) -> None:
        """Raises `SpecError` for a task that lacks something or has no use for something."""
        if self.task not in TASKS:
            raise SpecError(f"there is no task {self.task!r} (there are: {', '.join(TASKS)})")
        needed, allowed = TASKS[self.task]
        names = ("text", "audio", "turns", "instruction", "voice", "answer", "think")
        given = {name for name in names if getattr(self, name) not in (None, False)}
        if missing := needed - given:
            raise SpecError(f"{self.task} lacks {_options(missing)}; see 'generate --help'")
        if unused := given - needed - allowed:
            raise SpecError(f"{self.task} has no use for {_options(unused)}; leave it out")
        if self.answer not in (None, "text", "speech"):
            raise SpecError(f"--answer is {self.answer!r}, wanted text or speech")
        for name in ("text", "instruction"):
            if getattr(self, name) is not None and not getattr(self, name).strip():
                raise SpecError(f"--{name} is empty; say something, or leave it out")
        for name in ("audio", "voice", "turns"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise SpecError(f"--{name} {path}: no such file")
        if self.task in _TEXT_OR_AUDIO and (self.text is None) == (self.audio is None):
            raise SpecError(f"{self.task} wants either --text or --audio: what is said now")


class Prompts:
    """Questions to prompts; reads and encodes their audio."""

    def __init__(self, tasks: "Tasks", tokenizer: "Tokenizer") -> None:
        self._tasks = tasks
        self._tokenizer = tokenizer
        self._reader = AudioReader(tokenizer.sample_rate_hz)

    def make(self, asked: Asked, seed: int) -> tuple["TaskKind", "Grid"]:
        """The task's settings by name, and the prompt `[1 + C, T]`; `seed` draws the wording."""
        asked.check()
        tasks, text, note = self._tasks, asked.text or "", asked.instruction
        match asked.task:
            case "asr":
                return "asr", tasks.asr(self._asked_codes(asked), seed=seed).ids
            case "tts":
                return "tts", tasks.tts(text, seed=seed).ids
            case "instruct-tts":
                voice = None if asked.voice is None else self.codes(asked.voice)
                if note is None:
                    return "tts", tasks.natural_tts(text, voice=voice).ids
                return "tts", tasks.instruct_tts(text, note, voice=voice, seed=seed).ids
            case "understand":
                codes = self._asked_codes(asked)
                return "understand", tasks.understand(codes, text, thinking=asked.think).ids
            case "dialogue":
                return self._dialogue(asked)
            case "continue":
                return "few_shot_speech", tasks.continue_speech(self._asked_codes(asked)).ids
            case "in-context":
                return self._in_context(asked)
            case "question":
                return self._question(asked)
        return self._few_shot(asked)

    def codes(self, path: Path) -> "Codes":
        """Codes `[F, C]` of an audio file, whole groups. Raises `SpecError` for what is none."""
        listed = list_inputs(InputsSpec(uri=str(path)), "audio").sources
        try:
            waveform = self._reader.read(listed[0])
        except ItemError as error:
            raise SpecError(f"{path}: {error}") from error
        channels = self._tasks.layout.num_codebooks
        (codes,) = self._tokenizer.encode_numpy([waveform], channels)
        return self._tasks.layout.whole_groups(codes)

    def _asked_codes(self, asked: Asked) -> "Codes":
        assert asked.audio is not None  # `check` saw to it
        return self.codes(asked.audio)

    def _turns(self, asked: Asked) -> list["Turn"]:
        """The turns of the file; users and assistants alternate, an assistant's turn is last."""
        from model.tasks import Turn

        if asked.turns is None:
            return []
        turns = read_turns(asked.turns)
        folder = asked.turns.parent
        return [
            Turn(
                role=turn.role,
                text=turn.text,
                codes=None if turn.audio is None else self.codes(folder / turn.audio),
            )
            for turn in turns
        ]

    def _dialogue(self, asked: Asked) -> tuple["TaskKind", "Grid"]:
        from model.tasks import Turn

        codes = None if asked.audio is None else self.codes(asked.audio)
        turns = [*self._turns(asked), Turn(role="user", text=asked.text, codes=codes)]
        example = self._tasks.dialogue(
            turns,
            answer="speech" if asked.speaks else "text",
            system=asked.instruction,
            voice=None if asked.voice is None else self.codes(asked.voice),
            thinking=asked.think,
        )
        if asked.speaks:
            return "spoken_dialogue", example.ids
        heard = any(turn.codes is not None for turn in turns)
        return ("speech_to_text_dialogue" if heard else "text_dialogue"), example.ids

    def _in_context(self, asked: Asked) -> tuple["TaskKind", "Grid"]:
        from model.segments import Spoken

        examples = []
        for user, said in _pairs(self._turns(asked)):
            heard, spoken = (_wanted(asked, turn.codes, "audio") for turn in (user, said))
            examples.append((heard, Spoken(said.text or "", spoken)))
        codes = self._asked_codes(asked)
        example = self._tasks.in_context_speech(asked.instruction or "", examples, codes)
        return "in_context_speech", example.ids

    def _question(self, asked: Asked) -> tuple["TaskKind", "Grid"]:
        examples = [
            (
                _wanted(asked, user.codes, "audio"),
                _wanted(asked, user.text, "text"),
                _wanted(asked, said.text, "text"),
            )
            for user, said in _pairs(self._turns(asked))
        ]
        codes = self._asked_codes(asked)
        example = self._tasks.few_shot_question(examples, codes, asked.text or "")
        return "few_shot_question", example.ids

    def _few_shot(self, asked: Asked) -> tuple["TaskKind", "Grid"]:
        from model.tasks import Turn

        codes = None if asked.audio is None else self.codes(asked.audio)
        turns = [*self._turns(asked), Turn(role="user", text=asked.text, codes=codes)]
        items = [_item(asked, turn) for turn in turns]
        if asked.speaks:
            return "few_shot_speech", self._tasks.few_shot(items, answer="speech").ids
        return "few_shot_text", self._tasks.few_shot(items, answer="text").ids


def read_turns(path: Path) -> Sequence[FileTurn]:
    """The turns of a JSON file. Raises `SpecError` unless user and assistant take turns."""
    try:
        with path.open("rb") as file:
            raw = parse_content(file.read(MAX_BYTES + 1))
        turns = TypeAdapter(list[FileTurn]).validate_python(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SpecError(
            f"{path}: {place}: {first['msg']}; wanted a list of turns with role (user, assistant), "
            "text and audio"
        ) from error
    except (OSError, SpecError) as error:
        raise SpecError(f"{path}: not a JSON file that can be read ({error})") from error
    roles = [turn.role for turn in turns]
    if roles != ["user", "assistant"] * (len(turns) // 2):
        raise SpecError(
            f"{path}: turns of {', '.join(roles) or 'nobody'}; wanted user, assistant, user, "
            "assistant, ...: what is asked now comes from --text and --audio"
        )
    return turns


def _pairs(turns: Sequence["Turn"]) -> list[tuple["Turn", "Turn"]]:
    return list(zip(turns[::2], turns[1::2], strict=True))


def _wanted(asked: Asked, value: _Value | None, name: str) -> _Value:
    if value is None:
        raise SpecError(f"{asked.turns}: a turn without {name}, which {asked.task} wants")
    return value


def _item(asked: Asked, turn: "Turn") -> "Segment":
    """Text as it is, a user's speech as heard, an assistant's as spoken."""
    from model.segments import Speech, Spoken, Text

    if turn.codes is None:
        return Text(_wanted(asked, turn.text, "text or audio"))
    return Speech(turn.codes) if turn.role == "user" else Spoken(turn.text or "", turn.codes)


def _options(names: frozenset[str] | set[str]) -> str:
    return ", ".join(f"--{name}" for name in sorted(names))
