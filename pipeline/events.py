"""What a run did, one JSON object a line in `OUT/log/RUN.jsonl`, for machines that watch machines.

Ids, classes, counts and seconds: no text that anybody spoke, no URI (it may hold a password), no
message of an exception (it may quote either). The words to an id are in the tables.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.files import storage_error
from pipeline.worker import UnitResult

FOLDER = "log"
_LOGGER = logging.getLogger("audiomill.events")
_FIELDS = "audiomill_fields"


Field = str | float | Mapping[str, Any] | Sequence[Any]


def event(name: str, **fields: Field) -> None:
    """Writes an event of the run that is under way, if one is."""
    _LOGGER.info(name, extra={_FIELDS: fields})


class JsonLines(logging.Formatter):
    """A record as one JSON object: when, which run, what, and the event's own fields."""

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self._run_id = run_id

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = getattr(record, _FIELDS, {})
        return json.dumps({"at": at, "run": self._run_id, "event": record.msg, **fields})


class _File(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's name)
        """A line that cannot be written stops no work: the rows say what happened as well."""


@contextmanager
def logged(out: Path, run_id: str, **fields: Field) -> Iterator[None]:
    """Events inside the block go to this run's log, with its begin and its end around them.

    `fields` describe the run. Raises `StorageError` if the log cannot be made.
    """
    path = out / FOLDER / f"{run_id}.jsonl"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = _File(path, encoding="utf-8")
    except OSError as error:
        raise storage_error(path, error) from error
    handler.setFormatter(JsonLines(run_id))
    before = _LOGGER.level
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(logging.INFO)
    event("run_begun", **fields)
    ending = "failed"
    try:
        yield
        ending = "finished"
    except KeyboardInterrupt:
        ending = "interrupted"
        raise
    except BaseException as error:
        ending = f"failed: {type(error).__name__}"
        raise
    finally:
        event("run_ended", ending=ending)
        _LOGGER.setLevel(before)
        _LOGGER.removeHandler(handler)
        with suppress(OSError):  # what is left to write: see `_File`
            handler.close()


def unit_committed(result: UnitResult) -> None:
    """Writes what became of a unit."""
    event(
        "unit_committed",
        unit=result.unit_id,
        inputs=result.num_inputs,
        outcomes=result.num_by_outcome,
        seconds={stage: round(clock.compute_s, 3) for stage, clock in result.clocks.items()},
        failures=[
            {"input": blame.source_id, "stage": blame.stage, "error_class": blame.error_class}
            for blame in result.blames
            if blame
        ],
    )
