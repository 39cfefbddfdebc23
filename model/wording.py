"""What the tasks say to the model, kept apart from how it is laid out."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.errors import ModelError, SpecError
from schemas.strict_yaml import MAX_BYTES, parse_mapping

OWN_FILE = Path(__file__).with_suffix(".yaml")
FOLDER_FILE = "templates.json"

Line = Annotated[str, Field(min_length=1)]
Lines = Annotated[tuple[Line, ...], Field(min_length=1)]


class Wording(BaseModel):
    """Requests per task and language, and the sentences of the system turns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    asr_zh: Lines
    asr_en: Lines
    tts_zh: Lines
    tts_en: Lines
    style_system: Line
    """Speak in a described style."""
    style_voice_system: Line
    """The same, in the voice of the recording that follows."""
    voice: Line
    """Announces the recording whose voice a dialogue is to be spoken in."""

    @classmethod
    def own(cls) -> "Wording":
        """The wording that comes with this package."""
        return cls.model_validate(_read(OWN_FILE))

    @classmethod
    def from_file(cls, path: str | Path) -> "Wording":
        """YAML or JSON with the fields of this class; those it leaves out stay our own.

        Raises `ModelError` if the file cannot be read or holds anything else.
        """
        path = Path(path)
        try:
            return cls.model_validate(_read(OWN_FILE) | _read(path))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise ModelError(
                f"{path}: {field}: {first['msg']}; wanted the fields {', '.join(cls.model_fields)}"
            ) from error

    @classmethod
    def beside(cls, folder: str | Path) -> "Wording":
        """The wording in a model's folder (`templates.json`), or our own if it brings none."""
        path = Path(folder) / FOLDER_FILE
        return cls.from_file(path) if path.exists() else cls.own()

    def asr(self, seed: int) -> str:
        """A request to transcribe; both languages are one list."""
        return _drawn((*self.asr_zh, *self.asr_en), seed)

    def tts(self, text: str, seed: int) -> str:
        """A request to speak, in Chinese if the text holds a Chinese character."""
        chinese = any("\u4e00" <= character <= "\u9fff" for character in text)
        return _drawn(self.tts_zh if chinese else self.tts_en, seed)


def _drawn(lines: tuple[str, ...], seed: int) -> str:
    return lines[int(np.random.default_rng(seed).integers(len(lines)))]


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return parse_mapping(file.read(MAX_BYTES + 1))
    except (OSError, SpecError) as error:
        raise ModelError(
            f"{path}: neither YAML nor JSON as {OWN_FILE.name} is ({error}); mend the file"
        ) from error
