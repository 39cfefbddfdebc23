"""Removes files that no entry names, while other drivers may be at work.

A file of a live attempt looks just like garbage, and no clock can tell them apart: an attempt that
slept for a week may wake up and commit. So attempts are fenced first: one entry raises the epoch,
and from there on no attempt that began before it can be committed (see `commit.py`). What such an
attempt wrote and no entry up to there names is garbage for good, however late the request to delete
it arrives. Files of the new epoch have other names.
"""

from collections.abc import Callable

from pipeline.commit import MAX_TRIES
from pipeline.data_name import epoch_of
from pipeline.store import Store, UnknownOutcomeError
from schemas.errors import StorageError


def collect(store: Store, may_delete: Callable[[str], bool]) -> list[str]:
    """Deletes uncommitted files that `may_delete` grants; returns their names, sorted.

    `may_delete` is a courtesy to attempts at work, usually a grace period: whatever it says, no
    file is deleted that an entry names or will name. Attempts at work are fenced, and so have to
    be made again, only if a file of the current epoch is to go. A name without an epoch is never
    committed; deleting a file while it is written makes that attempt fail, not its unit. Raises
    `StorageError`: what was deleted until then was garbage, and collecting again goes on.
    """
    store.refresh()
    candidates = [name for name in _uncommitted(store) if may_delete(name)]
    epochs = [epoch for name in candidates if (epoch := epoch_of(name)) is not None]
    if any(epoch >= store.epoch() for epoch in epochs):
        _raise_epoch(store)
    committed = {file.name for file in store.committed_files()}
    deleted = []
    for name in candidates:
        epoch = epoch_of(name)
        if name in committed or (epoch is not None and epoch >= store.epoch()):
            continue
        store.delete(name)
        deleted.append(name)
    return deleted


def _uncommitted(store: Store) -> list[str]:
    committed = {file.name for file in store.committed_files()}
    return sorted(set(store.list_files()) - committed)


def _raise_epoch(store: Store) -> None:
    """Returns once an entry that raises the epoch has been seen, whoever made it."""
    before = store.epoch()
    for _ in range(MAX_TRIES):
        last = store.refresh()
        if store.epoch() > before:
            return
        try:
            # True is not enough: entries are believed when they are read.
            store.append(last + 1, f"collection-{before + 1}", (), before + 1)
        except UnknownOutcomeError:
            continue
    raise StorageError(
        f"no collection of garbage could be noted in {MAX_TRIES} tries, so nothing was deleted; "
        "is the store reachable? Run the same command again"
    )
