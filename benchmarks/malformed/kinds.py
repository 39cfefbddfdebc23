"""All kinds, in the order of their families, and the corpus made of them."""

import json
from collections.abc import Iterable
from pathlib import Path

from benchmarks.malformed import (
    bombs,
    containers,
    content,
    filesystem,
    glued,
    headers,
    lies,
    lures,
    not_audio,
    torn,
)
from benchmarks.malformed.kind import Kind, Setting

KINDS: tuple[Kind, ...] = (
    *not_audio.KINDS,
    *headers.KINDS,
    *torn.KINDS,
    *glued.KINDS,
    *lies.KINDS,
    *content.KINDS,
    *containers.KINDS,
    *bombs.KINDS,
    *filesystem.KINDS,
    *lures.KINDS,
)
DISCARD_PORT = 9
"""What lures of the network name when nobody listens."""


def make_kind(folder: Path, kind: Kind, *, port: int = DISCARD_PORT) -> Path:
    """Makes one kind below `folder`; the path of its file (of nothing for a bare reference)."""
    path = folder / kind.family / (kind.file or "reference")
    path.parent.mkdir(parents=True, exist_ok=True)
    kind.make(Setting(path=path, port=port))
    return path


def make_corpus(
    folder: Path, kinds: Iterable[Kind] = KINDS, *, port: int = DISCARD_PORT
) -> list[Kind]:
    """Makes the kinds in an empty or new folder, one folder a family; returns them.

    What happens after listing or while reading (`after_listing`, `while_read`) is the caller's to
    do. Raises `FileExistsError` where something is in the way.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; name a new folder for the corpus")
    made = list(kinds)
    for kind in made:
        make_kind(folder, kind, port=port)
    return made


def write_expected(path: Path, kinds: Iterable[Kind]) -> None:
    """Writes what must become of the kinds as JSON, by name."""
    rows = {
        kind.name: {
            "file": kind.shown_path if kind.file else None,
            "uri": kind.uri,
            "how": kind.how,
            **kind.expected.to_json(),
        }
        for kind in kinds
    }
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
