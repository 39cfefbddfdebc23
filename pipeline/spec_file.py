"""Reads a job spec: YAML and overrides in, a typed `JobSpec` out, every mistake as one line."""

import difflib
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.spec_secrets import refuse_secrets
from schemas.errors import SpecError
from schemas.job import SPEC_VERSION, JobSpec
from schemas.secret_words import without_secrets
from schemas.strict_yaml import MAX_BYTES, parse_mapping, parse_yaml, shortened


def load_job(path: Path, overrides: list[str] | None = None) -> JobSpec:
    """The spec in `path` with `key.path=value` overrides; raises `SpecError` with one line."""
    try:
        raw = read_yaml(path)
        for override in overrides or []:
            apply_override(raw, override)
        version = raw.get("version", SPEC_VERSION)
        if isinstance(version, int) and version > SPEC_VERSION:
            raise SpecError(
                f"version: this audiomill reads specs up to version {SPEC_VERSION}, the spec says "
                f"{version}; update audiomill"
            )
        return JobSpec.model_validate(raw)
    except ValidationError as error:
        raise SpecError(f"{path}: {explain(error, JobSpec)}") from error
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Top-level mapping of a YAML file without a secret in it; raises `SpecError`."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise SpecError("there is no such file") from None
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror}") from error
    raw = parse_mapping(content)
    refuse_secrets(raw)
    return raw


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Sets `a.b.c=value` in place; the value is read as YAML, so numbers and lists work.

    `a.0.c` is in the first entry of the list `a`, which has to be there.
    Raises `SpecError` for what the spec itself could not hold either.
    """
    key_path, equals, text = override.partition("=")
    keys = key_path.split(".")
    shown = f"override {shortened(without_secrets(override))}"
    if not equals or not all(keys):
        raise SpecError(f"{shown} is not of the form key.path=value")
    refuse_secrets(_nested(keys, None))  # before anything is said of the value
    try:
        value = parse_yaml(text, levels_above=len(keys)) if text else None
    except SpecError as error:
        raise SpecError(f"{shown}: {str(error).removeprefix('line 1: ')}") from error
    refuse_secrets(_nested(keys, value))
    here: Any = raw
    for key, below in pairwise(keys):
        at = _place(here, key, shown)
        if isinstance(here, dict) and here.get(at) is None:
            here[at] = {}
        here = here[at]
        if not isinstance(here, dict | list):
            raise SpecError(f"{shown}: {key!r} is a value, not a section with {below!r}")
    if keys[:-1] == ["stages"] and value is None:
        raise SpecError(
            f"{shown}: a stage without settings runs with its defaults (written {{}}); to leave it "
            "out, delete its lines in a copy of the spec"
        )
    here[_place(here, keys[-1], shown)] = value


def _place(here: dict[str, Any] | list[Any], key: str, shown: str) -> Any:
    """The key, or the index that it is in a list."""
    if isinstance(here, dict):
        return key
    if not key.isdecimal() or int(key) >= len(here):
        raise SpecError(f"{shown}: {key!r} is no entry of a list of {len(here)}, counted from 0")
    return int(key)


def _nested(keys: list[str], value: Any) -> dict[str, Any]:
    nested = {keys[-1]: value}
    for key in reversed(keys[:-1]):
        nested = {key: nested}
    return nested


def explain(error: ValidationError, model: type[BaseModel], prefix: str = "") -> str:
    """The first mistake that pydantic found, as `where: found, wanted`; then how many more."""
    first, *more = _worst_first(error.errors(include_url=False))
    location = [str(part) for part in first["loc"]]
    where = ".".join([prefix, *location] if prefix else location) or "spec"
    found = shortened(first.get("input"))
    if location and location[-1].endswith("_env"):
        found = "another text"  # the key itself, by mistake
    kind = first["type"]
    if kind == "extra_forbidden":
        known = _fields_at(model, location[:-1])
        text = f"unknown key{_near(location[-1], known)}"
    elif kind == "missing":
        text = "is missing"
    else:
        message = first["msg"].removeprefix("Value error, ")
        text = f"{message[0].lower()}{message[1:]}"
        if location:  # else the whole spec was found
            text += f", found {found}{_unit_hint(location)}"
    rest = f" (and {len(more)} more)" if more else ""
    return f"{where}: {text}{rest}"


def _worst_first(errors: list[Any]) -> list[Any]:
    """A key that nobody knows before one that is missing beside it: it may be misspelt."""
    unknown = {e["loc"][:-1] for e in errors if e["type"] == "extra_forbidden"}
    hidden = [e for e in errors if e["type"] == "missing" and e["loc"][:-1] in unknown]
    return [*(e for e in errors if e not in hidden), *hidden]


_UNITS = {
    "ms": "milliseconds",
    "s": "seconds",
    "hz": "hertz",
    "db": "decibels",
    "lufs": "LUFS",
    "dbtp": "dBTP",
    "hours": "hours",
    "mb": "megabytes",
    "bytes": "bytes",
    "frames": "codec frames of 1/25 s",
    "fraction": "a share from 0 to 1",
}


def _unit_hint(location: list[str]) -> str:
    unit = _UNITS.get(location[-1].rsplit("_", 1)[-1]) if location else None
    return f"; the value is in {unit}, a plain number" if unit else ""


def _near(word: str, known: list[str]) -> str:
    stem = word.rsplit("_", 1)[0]
    close = [name for name in known if name.rsplit("_", 1)[0] == stem]
    close = close or difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f" (there are: {', '.join(known)})"


def _fields_at(model: type[BaseModel], location: list[str]) -> list[str]:
    for part in location:
        field = model.model_fields.get(part)
        annotation = field.annotation if field else None
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        below = next(
            (c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None
        )
        if below is None:
            return []
        model = below
    return list(model.model_fields)
