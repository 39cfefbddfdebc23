"""An output folder belongs to one run: the spec in it says whose it is."""

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from schemas.errors import TrainingError

SPEC_FILE = "spec.json"
_PARTIAL = "spec.partial"


def require_free(folder: Path, begun: Collection[str]) -> None:
    """The folder holds a training, or nothing yet; touches nothing.

    `begun` are the names that a training writes before its spec: what is left of one that was
    stopped so early is no obstacle. Raises `TrainingError` for a folder with anything else.
    """
    if not folder.exists() or (folder / SPEC_FILE).exists():
        return
    if not folder.is_dir():
        raise TrainingError(f"output {str(folder)!r} is no folder; name another one")
    if any(path.name not in (_PARTIAL, *begun) for path in folder.iterdir()):
        raise TrainingError(
            f"output {str(folder)!r} is not empty and holds no training; name another folder"
        )


def claim(folder: Path, spec: Mapping[str, Any], *, first: bool) -> None:
    """The folder is this run's, or new; the `first` process writes the spec into a new one.

    Raises `TrainingError` naming what differs.
    """
    path = folder / SPEC_FILE
    if path.exists():
        different = sorted(_differences(json.loads(path.read_text()), dict(spec)))
        if different:
            raise TrainingError(
                f"{folder} belongs to another run: {', '.join(different[:4])} "
                f"{'differ' if len(different) > 1 else 'differs'} from its {SPEC_FILE}; name a "
                "new output, or put the spec back to go on"
            )
    elif first:
        folder.mkdir(parents=True, exist_ok=True)
        partial_path = folder / _PARTIAL
        partial_path.write_text(json.dumps(spec, indent=1) + "\n")
        partial_path.rename(path)


def _differences(left: Any, right: Any, path: str = "") -> Iterator[str]:
    if isinstance(left, dict) and isinstance(right, dict):
        for key in {**left, **right}:
            below = f"{path}.{key}" if path else str(key)
            yield from _differences(left.get(key), right.get(key), below)
    elif left != right:
        yield path or "the whole"
