"""A folder with a pyannote pipeline, looked at before pyannote.audio opens it.

pyannote.audio 4 takes the folder at its word: it makes whatever class `config.yaml` names, and
reads its checkpoints as pickles that may run any code. Here the config may name the one pipeline
and files of its own folder, and a checkpoint may hold weights and the few types that pyannote
itself puts beside them. What holds more is opened only if the spec states the folder's digest.
"""

import hashlib
import pickle
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any

from schemas.errors import EngineMissingError, SpecError
from schemas.strict_yaml import MAX_BYTES, parse_mapping

CONFIG = "config.yaml"
CHECKPOINT = "pytorch_model.bin"
_PIPELINES = (
    "pyannote.audio.pipelines.SpeakerDiarization",
    "pyannote.audio.pipelines.speaker_diarization.SpeakerDiarization",
)
_SECTIONS = frozenset({"version", "dependencies", "pipeline", "params", "freeze"})
_MODELS = ("segmentation", "embedding", "plda")
_TYPES = (
    *(f"pyannote.audio.core.task.{name}" for name in ("Specifications", "Problem", "Resolution")),
    "torch.torch_version.TorchVersion",
    *(f"omegaconf.{name}" for name in ("listconfig.ListConfig", "dictconfig.DictConfig")),
    *(f"omegaconf.base.{name}" for name in ("ContainerMetadata", "Metadata")),
    "omegaconf.nodes.AnyNode",
    "collections.defaultdict",
)
"""What the published checkpoints of speaker diarization hold beside tensors, numbers and words."""
_ARCHITECTURES = "pyannote.audio.models."
_ASKED = re.compile(r"unsupported global:?(?: global)? ([\w.]+)", re.IGNORECASE)


def pipeline_digest(folder: Path) -> str:
    """Hex SHA-256 over the names and bytes of all files of a folder, hidden ones left out."""
    sha = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            sha.update(f"{found}  {name.as_posix()}\n".encode())
    return sha.hexdigest()


def check_pipeline_folder(folder: Path) -> None:
    """Raises `EngineMissingError` for a folder that could run code of its own.

    Imports pyannote.audio.
    """
    for checkpoint in _checkpoints_of(folder):
        _check_checkpoint(checkpoint)


def _checkpoints_of(folder: Path) -> Iterator[Path]:
    """Files that the config makes pyannote read as pickles."""
    path = folder / CONFIG
    try:
        with path.open("rb") as file:
            config = parse_mapping(file.read(MAX_BYTES + 1))
    except (OSError, SpecError) as error:
        raise EngineMissingError(f"{path}: {error}") from error
    pipeline = config.get("pipeline")
    section: dict[str, Any] = pipeline if isinstance(pipeline, dict) else {}
    if section.get("name") not in _PIPELINES:
        raise EngineMissingError(
            f"{path}: names the class {section.get('name')!r}, wanted {_PIPELINES[0]}"
        )
    if beyond := sorted(map(str, config.keys() - _SECTIONS)):
        raise EngineMissingError(f"{path}: {beyond[0]!r} could name further code; remove it")
    params = section.get("params")
    given: dict[str, Any] = params if isinstance(params, dict) else {}
    for part in _MODELS:
        # Without the first two, pyannote would take its own from a hub's cache.
        value = given.get(part)
        if value is None and part == "plda":
            continue
        inside = PurePosixPath(str(value))
        if inside.parts[:1] != ("$model",) or ".." in inside.parts or "@" in str(value):
            raise EngineMissingError(
                f"{path}: {part} lies in {value!r}, wanted '$model/FOLDER', which is a folder of "
                "this one; no hub is asked"
            )
        found = folder.joinpath(*inside.parts[1:], CHECKPOINT)
        if found.exists():
            yield found


def _check_checkpoint(path: Path) -> None:
    import torch

    allowed: list[Any] = [known for known in map(_imported, _TYPES) if known is not None]
    try:
        with torch.serialization.safe_globals(allowed):
            content = torch.load(path, map_location="meta", weights_only=True)
        architecture = content["pyannote.audio"]["architecture"]
        module = architecture["module"]
        is_ours = isinstance(module, str) and module.startswith(_ARCHITECTURES)
    except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, TypeError) as error:
        # Torch's words advise to switch its check off; the part that names the type is kept.
        asked = _ASKED.search(str(error))
        raise EngineMissingError(
            f"{path}: asks for {asked[1]}, which no weights are made of"
            if asked
            else f"{path}: is no checkpoint of pyannote.audio ({type(error).__name__})"
        ) from error
    if not is_ours:
        raise EngineMissingError(f"{path}: names the module {module!r}, wanted {_ARCHITECTURES}...")


def _imported(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(import_module(module), attribute)
    except ImportError:
        return None  # of a package that is not here, so nothing of it could be opened anyway
