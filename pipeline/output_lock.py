"""A courtesy: one run at a time on an output, where the disk has locks.

Nothing depends on it. Two runs at once make what one alone makes, but do most of the work twice.
"""

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import OutputError

LOCK_FILE = ".lock"


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Holds the output for this process; raises `OutputError` while another run holds it.

    The lock is the system's, on a file in the folder: it goes when the process does, however it
    ends. Where a store has no locks, nothing is held.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        file = (out / LOCK_FILE).open("a")
    except OSError as error:
        raise OutputError(
            f"output {str(out)!r} cannot be made ({error.strerror or error}); name a folder that "
            "can be written"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(
                f"another run is at work on output {str(out)!r}; wait for it, or stop it first"
            ) from None
        except OSError:
            logging.getLogger(__name__).warning(
                "%s cannot be locked: a second run would do the same work again", out
            )
        yield
