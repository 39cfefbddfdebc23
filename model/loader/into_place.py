"""A folder of new files put where readers look, so that a power cut leaves all of it or nothing."""

import os
from pathlib import Path


def into_place(part: Path, target: Path) -> None:
    """Renames the folder `part` to `target`, in the same file system, once its files are on disk.

    Without the syncs a file system may write the new name first and the content never. Raises
    `OSError` as the disk does.
    """
    for path in (*part.rglob("*"), part):
        _sync(path)
    part.rename(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
