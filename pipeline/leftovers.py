"""What nobody needs in an output: files that no commit names, of attempts that came to nothing.

The grace period is a courtesy to attempts at work, which would have to be made again; what decides
that a file is garbage is the log (see `garbage.py`), so a wrong clock costs work and nothing else.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.files import PART_ENDING
from pipeline.garbage import collect
from pipeline.manifest import Manifest
from pipeline.output import INPUTS_PATTERN, read_job
from pipeline.verify import orphans_of
from pipeline.working_copy import listing, remove, stat


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file that was removed, or would be."""

    name: str
    """Relative to the output."""
    size_bytes: int


def collect_leftovers(out: Path, *, grace_s: float, dry_run: bool = False) -> list[Leftover]:
    """Removes files that no commit names and nobody wrote to for `grace_s` seconds.

    Runs may be at work. With `dry_run` nothing is touched. Raises `OutputError` where there is no
    output, `StorageError` where the disk fails; what was removed until then was garbage.
    """
    manifest = Manifest(out)
    old = _older_than(out, grace_s)
    others = [name for name in _outside_the_store(out) if old(name)]
    found = {
        name: Leftover(name, _size_of(out, name))
        for name in sorted({*orphans_of(manifest), *others})
        if old(name)
    }
    if dry_run:
        return list(found.values())
    removed = collect(manifest.store, old)
    for name in others:
        remove(out, name)
    return [found.get(name) or Leftover(name, 0) for name in sorted({*removed, *others})]


def _outside_the_store(out: Path) -> list[str]:
    """Inputs that another driver was faster to begin with; what was cut off while written."""
    named = read_job(out)["inputs"]["name"]
    paths = [PurePosixPath(name) for name in listing(out)]
    shallow = [path for path in paths if len(path.parts) <= 2]
    return [
        *(path.name for path in paths if _is_inputs(path) and path.name != named),
        *(str(path) for path in shallow if path.name.endswith(PART_ENDING)),
    ]


def _is_inputs(path: PurePosixPath) -> bool:
    return len(path.parts) == 1 and path.match(INPUTS_PATTERN)


def _older_than(out: Path, grace_s: float) -> Callable[[str], bool]:
    now = time.time()

    def is_old(name: str) -> bool:
        found = stat(out, name)
        # What is gone, or not to be asked, is not ours to delete.
        return found is not None and now - found.modified >= grace_s

    return is_old


def _size_of(out: Path, name: str) -> int:
    found = stat(out, name)
    return found.size_bytes if found else 0
