"""A local folder with a Whisper model for CTranslate2: is it whole, and which one is it?"""

import hashlib
import json
from pathlib import Path

from schemas.errors import EngineMissingError

_NEEDED = {
    "model.bin": "the weights",
    "config.json": "token ids of languages and alignment heads",
    "tokenizer.json": "the text tokens; without it a hub would be asked",
}
_VOCABULARIES = ("vocabulary.json", "vocabulary.txt")
_HOW_TO_GET = (
    "on a machine with internet run 'ct2-transformers-converter --model openai/whisper-large-v3 "
    "--quantization float16 --copy_files tokenizer.json preprocessor_config.json --output_dir "
    "FOLDER', copy FOLDER here and name it in stages.asr.model"
)


def check_whisper_folder(folder: Path) -> None:
    """Raises `EngineMissingError` with the first file that is missing or unreadable."""
    if not folder.is_dir():
        raise EngineMissingError(
            f"stages.asr: the model folder {str(folder)!r} is not there; {_HOW_TO_GET}"
        )
    for name, purpose in _NEEDED.items():
        if not (folder / name).is_file():
            raise EngineMissingError(
                f"stages.asr: {str(folder)!r} has no {name} ({purpose}); {_HOW_TO_GET}"
            )
    if not any((folder / name).is_file() for name in _VOCABULARIES):
        raise EngineMissingError(
            f"stages.asr: {str(folder)!r} has neither {' nor '.join(_VOCABULARIES)}; {_HOW_TO_GET}"
        )
    for name in ("config.json", "tokenizer.json"):
        try:
            json.loads((folder / name).read_text(encoding="utf-8"))
        except ValueError as error:
            raise EngineMissingError(
                f"stages.asr: {str(folder / name)!r} is no JSON ({error}); {_HOW_TO_GET}"
            ) from error


def whisper_digest(folder: Path) -> str:
    """12 hex digits over weights and tokenizer; reads the whole folder, about 1 s per GB."""
    sha = hashlib.sha256()
    for name in sorted([*_NEEDED, *_VOCABULARIES]):
        path = folder / name
        if path.is_file():
            with path.open("rb") as file:
                sha.update(hashlib.file_digest(file, "sha256").digest())
    return sha.hexdigest()[:12]
