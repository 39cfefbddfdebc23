"""Which engine of which stage would run here: imported and constructed, never opened."""

from collections.abc import Iterator
from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from jobs.diagnosis import Finding, look, one_line

if TYPE_CHECKING:
    from pydantic import BaseModel

    from stages.base import Stage

_PLACEHOLDER = "a-setting-that-nobody-has-given"


def engines() -> list[Finding]:
    """A finding per engine of every stage, ours and those of other packages."""
    from stages.registry import ENGINES, engines_of

    foreign = {entry.name.partition(".")[0] for entry in entry_points(group="audiomill.engines")}
    findings: list[Finding] = []
    for stage in dict.fromkeys([*ENGINES, *sorted(foreign)]):
        for engine in engines_of(stage):
            name = f"{stage}: {engine}"
            findings += look(name, partial(_engine, stage, engine, name))
    return findings


def tokenizers() -> Iterator[Finding]:
    """A finding per tokenizer that a spec can name."""
    from jobs.tokenizers import ENGINES, check_tokenizer
    from schemas.errors import AudiomillError
    from schemas.job import TokenizeSpec

    for engine in ENGINES:
        name = f"tokenize: {engine}"
        try:
            check_tokenizer(TokenizeSpec(engine=engine))
        except AudiomillError as error:
            yield Finding(
                name,
                "setting",
                "needs tokenize.model=FOLDER",
                gives="codes of a trained tokenizer, which decode to speech",
                how=one_line(str(error)),
            )
        else:
            note = "bundled: trained on synthetic voices, decodes to speech"
            yield Finding(name, "ok", note if engine == "small" else "")


def _engine(stage: str, engine: str, name: str) -> Finding:
    from schemas.errors import AudiomillError
    from stages.registry import stage_class

    try:
        cls = stage_class(stage, engine)
    except AudiomillError as error:
        return Finding(name, "missing", one_line(str(error)))
    gives = (cls.__doc__ or "").strip().partition("\n")[0]
    settings = _required(cls.Spec)
    # An engine that wants a setting is built with a made-up one, so that it can say whether its
    # package is missing as well.
    try:
        built = cls(cls.Spec.model_validate(_placeholders(cls.Spec)))
    except AudiomillError as error:
        if settings and _PLACEHOLDER in str(error):
            return _needs(name, stage, cls, gives)
        return Finding(name, "missing", one_line(str(error)), gives, _install(error))
    except ValueError:  # the placeholder is no value of this setting: it takes a real one to tell
        if settings:
            return _needs(name, stage, cls, gives)
        raise
    if settings:
        return _needs(name, stage, cls, gives)
    resources = built.resources()
    where = f"{resources.num_gpus:g} GPU" if resources.num_gpus else f"{resources.num_cpus:g} CPU"
    speed = f"about {built.speed_x_real_time:g} x real time on {where}"
    return Finding(name, "ok", f"{built.describe()}; {speed}", gives)


def _needs(name: str, stage: str, cls: "type[Stage]", gives: str) -> Finding:
    wanted = " ".join(f"stages.{stage}.{field}={_kind(field)}" for field in _required(cls.Spec))
    docs = {field: cls.Spec.model_fields[field].description or "" for field in _required(cls.Spec)}
    how = "; ".join(f"{field}: {doc}" for field, doc in docs.items() if doc)
    return Finding(name, "setting", f"needs {wanted}", gives, how or f"give {wanted} in the spec")


def _required(spec: "type[BaseModel]") -> list[str]:
    return [name for name, field in spec.model_fields.items() if field.is_required()]


def _placeholders(spec: "type[BaseModel]") -> dict[str, str]:
    return dict.fromkeys(_required(spec), _PLACEHOLDER)


def _kind(field: str) -> str:
    if field in ("model", "folder", "path") or field.endswith(("_model", "_folder", "_path")):
        return "FOLDER"
    return "URL" if "url" in field or "endpoint" in field else "VALUE"


def _install(error: BaseException) -> str:
    package = getattr(error, "name", None)
    return f"pip install {package}" if package else ""
