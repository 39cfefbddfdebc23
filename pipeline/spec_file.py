"""Reads a job spec: YAML and overrides in, a typed `JobSpec` out, every mistake as one line."""

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from schemas.errors import SpecError
from schemas.job import SPEC_VERSION, JobSpec

MAX_SPEC_BYTES = 1_000_000
MAX_DEPTH = 12
MAX_INTEGER_BITS = 64


class _StrictLoader(yaml.SafeLoader):
    """Plain data only: no aliases (they can be nested into gigabytes), no key said twice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise SpecError(f"line {event.start_mark.line + 1}: YAML aliases are not accepted")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        # A tag can call anything a mapping ('!!map text'); YAML's own error says what is none.
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise SpecError(f"line {line}: a key here is a {key_node.id}, wanted one word")
            if key_node.value in seen:
                raise SpecError(f"line {line}: the key {_short(key_node.value)} stands here twice")
            seen.add(key_node.value)
        return super().construct_mapping(node, deep=deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        line = node.start_mark.line + 1
        try:
            value = super().construct_object(node, deep=deep)
        except (SpecError, yaml.YAMLError):
            raise
        except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError) as error:
            # YAML takes the value for a date or a number by its look or its tag, and then Python's
            # own errors come through: '2024-13-45', '!!int abc', '!!bool maybe'.
            kind = node.tag.rpartition(":")[2]
            raise SpecError(
                f"line {line}: {_short(node.value)} is no {kind}; text is written in quotes"
            ) from error
        if isinstance(value, int) and value.bit_length() > MAX_INTEGER_BITS:
            raise SpecError(
                f"line {line}: {_short(node.value)} is a whole number of more than "
                f"{MAX_INTEGER_BITS} bits; text is written in quotes"
            )
        return value


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
    """Top-level mapping of a YAML file; raises `SpecError`."""
    try:
        if path.stat().st_size > MAX_SPEC_BYTES:
            raise SpecError(f"is larger than {MAX_SPEC_BYTES} bytes, which no job spec is")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError("there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot be read as text: {error}") from error
    raw = _parsed(text)
    if not isinstance(raw, dict):
        raise SpecError(f"holds {type(raw).__name__}, wanted keys and values")
    return raw


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Sets `a.b.c=value` in place; the value is read as YAML, so numbers and lists work.

    Raises `SpecError` for what the spec itself could not hold either.
    """
    key_path, equals, text = override.partition("=")
    keys = key_path.split(".")
    shown = f"override {_short(override)}"
    if not equals or not all(keys):
        raise SpecError(f"{shown} is not of the form key.path=value")
    try:
        value = _parsed(text, levels_above=len(keys)) if text else None
    except SpecError as error:
        raise SpecError(f"{shown}: {str(error).removeprefix('line 1: ')}") from error
    here = raw
    for key in keys[:-1]:
        below = here.setdefault(key, {})
        if below is None:
            below = here[key] = {}
        if not isinstance(below, dict):
            raise SpecError(f"{shown}: {key!r} is a value, not a section")
        here = below
    here[keys[-1]] = value


def explain(error: ValidationError, model: type[BaseModel], prefix: str = "") -> str:
    """The first mistake that pydantic found, as `where: found, wanted`; then how many more."""
    first, *more = error.errors(include_url=False)
    location = [str(part) for part in first["loc"]]
    where = ".".join([prefix, *location] if prefix else location) or "spec"
    found = _short(first.get("input"))
    kind = first["type"]
    if kind == "extra_forbidden":
        known = _fields_at(model, location[:-1])
        text = f"unknown key{_near(location[-1], known)}"
    elif kind == "missing":
        text = "is missing"
    else:
        message = first["msg"].removeprefix("Value error, ")
        text = f"{message[0].lower()}{message[1:]}, found {found}{_unit_hint(location)}"
    rest = f" (and {len(more)} more)" if more else ""
    return f"{where}: {text}{rest}"


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


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


def _parsed(text: str, levels_above: int = 0) -> Any:
    """What the YAML says, for a spec and for an override alike; raises `SpecError`."""
    try:
        value = yaml.load(text, Loader=_StrictLoader)  # a SafeLoader, made stricter
        too_deep = levels_above + _depth(value) > MAX_DEPTH
    except yaml.YAMLError as error:
        raise SpecError(f"is no YAML: {' '.join(str(error).split())}") from error
    except RecursionError:
        too_deep = True
    if too_deep:
        raise SpecError(f"is nested deeper than {MAX_DEPTH} levels")
    return value


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max((_depth(v) for v in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((_depth(v) for v in value), default=0)
    return 0
