"""The ids of the text tokens that give a sequence its structure.

They are looked up by their written form, never assumed: tokenizers number them differently.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from schemas.errors import ModelError

TOKENIZER_FILE = "tokenizer.json"

# Field of `SpecialTokens` -> written form, in the order in which their ids grow.
WRITTEN_FORMS: Mapping[str, str] = {
    "endoftext": "<|endoftext|>",
    "im_start": "<|im_start|>",
    "im_end": "<|im_end|>",
    "sosp": "<|sosp|>",
    "eosp": "<|eosp|>",
    "empty": "<|empty|>",
    "human": "<|Human|>",
    "speech_lm": "<|SpeechLM|>",
    "sostm": "<|sostm|>",
    "eostm": "<|eostm|>",
    "eot": "<|eot|>",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class SpecialTokens:
    """Text ids of the special tokens; all differ, none is negative.

    `sosp`/`eosp` enclose speech that is read, `sostm`/`eostm` speech that is spoken, `eot` ends the
    text of spoken speech, and `empty` is the text id of every position that holds audio codes.
    """

    endoftext: int
    im_start: int
    im_end: int
    sosp: int
    eosp: int
    empty: int
    human: int
    speech_lm: int
    sostm: int
    eostm: int
    eot: int

    def __post_init__(self) -> None:
        taken: dict[int, str] = {}
        for name, token_id in self.to_mapping().items():
            if token_id < 0:
                raise ModelError(f"special token {name}: id {token_id} is negative; ids start at 0")
            if token_id in taken:
                raise ModelError(
                    f"special tokens {taken[token_id]} and {name} share the id {token_id}; "
                    "give each its own id in the text tokenizer"
                )
            taken[token_id] = name

    @classmethod
    def from_mapping(
        cls, mapping: Mapping[str, int], *, where: str = "special tokens"
    ) -> "SpecialTokens":
        """Ids by written form (`{"<|empty|>": 151667, ...}`); other entries are left alone.

        `where` opens the message. Raises `ModelError` naming every token that is missing.
        """
        missing = [form for form in WRITTEN_FORMS.values() if form not in mapping]
        if missing:
            raise ModelError(
                f"{where}: without {', '.join(missing)}; add them in this order to the text "
                "tokenizer (transformers: add_tokens(..., special_tokens=True), save_pretrained)"
            )
        return cls(**{name: int(mapping[form]) for name, form in WRITTEN_FORMS.items()})

    @classmethod
    def from_folder(cls, folder: str | Path) -> "SpecialTokens":
        """The ids in `folder/tokenizer.json` (its vocabulary and its added tokens).

        Raises `ModelError` if the file is absent, unreadable, or lacks a token.
        """
        path = Path(folder) / TOKENIZER_FILE
        return cls.from_mapping(_ids_of(path), where=str(path))

    @classmethod
    def of_model(cls, folder: str | Path, noted: object) -> "SpecialTokens":
        """The ids in `folder/tokenizer.json`; without that file those that its config noted."""
        if not (Path(folder) / TOKENIZER_FILE).exists() and isinstance(noted, dict):
            return cls.from_mapping(noted, where=f"{folder}/config.json: special_tokens")
        return cls.from_folder(folder)

    def check_within(self, vocab_size: int) -> None:
        """Raises `ModelError` unless a model of that many text ids has all of these."""
        for form, token_id in self.to_mapping().items():
            if token_id >= vocab_size:
                raise ModelError(
                    f"special token {form} has id {token_id}, the model's vocabulary ends at "
                    f"{vocab_size - 1}; the text tokenizer belongs to another model"
                )

    def to_mapping(self) -> dict[str, int]:
        """Ids by written form: what `from_mapping` takes."""
        return {WRITTEN_FORMS[field.name]: getattr(self, field.name) for field in fields(self)}


def _ids_of(path: Path) -> dict[str, int]:
    try:
        raw: Any = json.loads(path.read_text(encoding="utf-8"))
        vocabulary = raw["model"]["vocab"]
        ids = dict(vocabulary) if isinstance(vocabulary, dict) else {}
        return ids | {entry["content"]: entry["id"] for entry in raw["added_tokens"]}
    except FileNotFoundError:
        raise ModelError(
            f"{path}: not there; a model folder needs its text tokenizer as {TOKENIZER_FILE} "
            "(transformers: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER))"
        ) from None
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path}: not a text tokenizer that can be read ({error!r}); copy the file again "
            "from where the model came from"
        ) from error
