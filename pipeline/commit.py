"""One atomic entry makes a unit exist; late, double and zombie attempts change nothing.

An attempt reads the epoch, writes its files under names that hold it, and asks for an entry. The
entry is made at the number after the last one seen, so whoever makes it has seen everything before
it: that the unit is not there yet, and that no collection of garbage came since the attempt began.
No clock takes part. An answer that got lost is looked up in the log, never cleaned up after.
"""

from collections.abc import Sequence
from enum import Enum

from pipeline.data_name import epoch_of
from pipeline.store import DataFile, Store, UnknownOutcomeError
from schemas.errors import StorageError

MAX_TRIES = 1_000
"""Lost races and lost answers in a row before the store is called broken."""


class Outcome(Enum):
    """What became of an attempt."""

    COMMITTED = "committed"
    """Its files are the unit's."""
    ALREADY = "already"
    """The unit exists: this attempt's earlier try, or another attempt. Nothing is to be done."""
    FENCED = "fenced"
    """Garbage was collected since it began, perhaps its files: the unit must be done again."""


def commit_unit(store: Store, unit: str, files: Sequence[DataFile], epoch: int) -> Outcome:
    """Makes the files of `unit` exist together, unless the unit exists or the attempt is late.

    `epoch` is what `store.epoch()` said before the first file was written; names of files hold it
    (`ValueError` if not: a collection of garbage could not place them). Raises `StorageError` when
    the store fails or gives no answer: the unit may exist all the same, so its files must stay, and
    the same attempt can be committed again.
    """
    for file in files:
        if epoch_of(file.name) != epoch:
            raise ValueError(f"{file.name}: a file of an attempt in epoch {epoch} must say so")
    asked = False
    for _ in range(MAX_TRIES):
        last = store.refresh()
        if store.is_committed(unit):
            return Outcome.ALREADY
        if store.epoch() != epoch:
            return Outcome.FENCED
        try:
            if store.append(last + 1, unit, files, epoch):
                return Outcome.COMMITTED
        except UnknownOutcomeError:
            asked = True
    raise StorageError(
        f"unit {unit} could not be committed in {MAX_TRIES} tries"
        f"{', and some were never answered' if asked else ''}; is the store reachable and not "
        "written by many at once? Run the same command again"
    )
