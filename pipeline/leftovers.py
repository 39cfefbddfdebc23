"""What nobody needs in an output: files that no commit names, of attempts that came to nothing.

The grace period is a courtesy to attempts at work, which would have to be made again; what decides
that a file is garbage is the log (see `garbage.py`), so a wrong clock costs work and nothing else.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.files import PART_ENDING, storage_error
from pipeline.garbage import collect
from pipeline.manifest import Manifest
from pipeline.output import INPUTS_PATTERN, read_job
from pipeline.verify import orphans_of


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
        name: Leftover(name, _size_of(out / name))
        for name in sorted({*orphans_of(manifest), *others})
        if old(name)
    }
    if dry_run:
        return list(found.values())
    removed = collect(manifest.store, old)
    for name in others:
        try:
            (out / name).unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(out / name, error) from error
    return [found.get(name) or Leftover(name, 0) for name in sorted({*removed, *others})]


def _outside_the_store(out: Path) -> list[str]:
    """Inputs that another driver was faster to begin with; what was cut off while written."""
    named = read_job(out)["inputs"]["name"]
    inputs = [path.name for path in out.glob(INPUTS_PATTERN) if path.name != named]
    parts = (path for folder in (".", "*") for path in out.glob(f"{folder}/*{PART_ENDING}"))
    return inputs + [path.relative_to(out).as_posix() for path in parts]


def _older_than(out: Path, grace_s: float) -> Callable[[str], bool]:
    now = time.time()

    def is_old(name: str) -> bool:
        try:
            return now - (out / name).lstat().st_mtime >= grace_s
        except OSError:  # gone, or not to be asked: not ours to delete
            return False

    return is_old


def _size_of(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
