"""Arrays that cost something to make, kept in a folder under the digest of what decides them."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.errors import OutputError, StorageError

Arrays = dict[str, npt.NDArray[Any]]


def kept(folder: Path, names: tuple[str, ...], make: Callable[[Path], None]) -> Arrays:
    """The arrays `NAME.npy` of `folder`, mapped into memory; `make` writes them where there are
    none. Of several processes that make them at once one wins, and all of them see the same.
    """
    if not folder.is_dir():
        part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
        try:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            make(part)
            with suppress(FileExistsError):
                _rename(part, folder)
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(
                f"{folder}: cannot be written ({error.strerror}); make room, or name another "
                "cache folder"
            ) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
    try:
        return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{folder}: damaged ({error}); delete that folder, it will be made again"
        ) from error


def _rename(part: Path, folder: Path) -> None:
    try:
        part.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        raise FileExistsError(folder) from None
