"""Which kind of spec a file holds, for whoever gave it to the wrong command."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline.spec_file import read_yaml
from schemas.errors import SpecError
from schemas.job import JobSpec


def refuse_other_kind(path: Path, wanted: type[BaseModel]) -> None:
    """Raises `SpecError` where the file, which is no valid `wanted`, looks like a spec of another
    command; says nothing where it cannot be read either.

    It looks like the kind whose keys at the top it has: fewest unknown, fewest of the required
    ones missing.
    """
    try:
        raw = read_yaml(path)
    except SpecError:
        return
    # A misspelt key is no sign of another kind; and the other kinds are slow to import.
    if not _unknown(raw, wanted) or not _missing(raw, wanted):
        return
    kind, name, command = min(_kinds(), key=lambda known: _misfit(raw, known[0]))
    if _misfit(raw, kind) < _misfit(raw, wanted) and _unknown(raw, wanted) - _unknown(raw, kind):
        raise SpecError(f"{path}: looks like {name}; use '{command}'")


def _misfit(raw: dict[str, Any], kind: type[BaseModel]) -> int:
    return len(_unknown(raw, kind)) + len(_missing(raw, kind))


def _unknown(raw: dict[str, Any], kind: type[BaseModel]) -> set[str]:
    return raw.keys() - kind.model_fields.keys()


def _missing(raw: dict[str, Any], kind: type[BaseModel]) -> set[str]:
    required = {name for name, field in kind.model_fields.items() if field.is_required()}
    return required - raw.keys()


def _kinds() -> list[tuple[type[BaseModel], str, str]]:
    from model.training.spec import TrainSpec as ModelTraining
    from tokenizer.training.spec import TrainSpec as TokenizerTraining

    return [
        (JobSpec, "the spec of a job", "audiomill run"),
        (ModelTraining, "the spec of a training", "audiomill train"),
        (TokenizerTraining, "the spec of a tokenizer's training", "audiomill tokenizer train"),
    ]
