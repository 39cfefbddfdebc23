"""Whose fault it is when an input cannot be read: the input's, or this machine's."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.item_state import Failure, ItemState
from schemas.errors import ItemError, StorageError
from stages.decoding.input_file import OUR_FAULT


@contextmanager
def blaming(item: ItemState, stage: str) -> Iterator[None]:
    """Has `item` fail in `stage` by what goes wrong with reading it in this block.

    An `ItemError` stands as it is, an `OSError` becomes UNREADABLE. Raises `StorageError` for what
    is this machine's own: no memory, no room, no descriptor left. Whatever the item had come to
    before is void.
    """
    try:
        yield
    except StorageError:
        raise
    except ItemError as error:
        failure = Failure.of(stage, error)
    except OSError as error:
        said = f"{item.source.uri} cannot be read: {error.strerror or error}"
        if error.errno in OUR_FAULT:
            raise StorageError(f"{said}; this machine has run out of it") from error
        failure = Failure(stage, "UNREADABLE", said)
    else:
        return
    item.failure, item.drop, item.segments = failure, None, []
