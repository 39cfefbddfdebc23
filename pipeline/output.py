"""The output folder of a job: whose it is, which inputs it was begun with, what is still to do."""

import fcntl
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.assemble import Job
from pipeline.files import write_parquet, write_text
from pipeline.inputs import Listing
from pipeline.manifest import Manifest
from schemas.errors import OutputError
from schemas.source import Source

JOB_FILE = "job.json"
INPUTS_FILE = "inputs.parquet"
LOCK_FILE = ".lock"
OURS = (
    *(JOB_FILE, INPUTS_FILE, LOCK_FILE, "manifest", "shards", "report", "catalog.duckdb"),
    "scores.json",
)
"""Everything that a job writes under its output."""


@dataclass(frozen=True)
class Output:
    """An output folder that belongs to this job."""

    out: Path
    manifest: Manifest
    sources: tuple[Source, ...]

    def pending(self) -> list[Source]:
        """Inputs that have no committed row in `recordings` yet, in listed order."""
        ended = set(self.manifest.table("recordings", ["source_id"])["source_id"].to_pylist())
        return [source for source in self.sources if source.source_id not in ended]


def find_output(job: Job, listing: Listing) -> Output | None:
    """The job's output folder, or None if there is nothing yet. Touches nothing.

    Raises `OutputError` when what is there belongs to another job or to somebody else.
    """
    out = Path(job.spec.output)
    if (out / JOB_FILE).exists():
        _check_same_job(job, out / JOB_FILE)
        sources = read_inputs(out)
        _check_same_inputs(out, sources, listing.sources)
        return Output(out, Manifest(out), sources)
    if not _is_free(out):
        raise OutputError(
            f"output {str(out)!r} is not empty and holds no audiomill job; name another folder"
        )
    return None


def begin_output(job: Job, listing: Listing) -> Output:
    """Makes the job's output folder, which `find_output` found to be free."""
    out = Path(job.spec.output)
    clear(out)  # what a run left that was stopped while it began
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_inputs(out, listing.sources)
        manifest = Manifest.create(out)
    except OSError as error:
        raise OutputError(
            f"output {str(out)!r} cannot be made ({error.strerror or error}); name a folder that "
            "can be written"
        ) from error
    # Last, so that a folder with a job file is a whole one.
    write_text(out / JOB_FILE, json.dumps(job_record(job), indent=2, ensure_ascii=False))
    return Output(out, manifest, listing.sources)


def check_clearable(out: Path) -> None:
    """Refuses to start over in a folder that holds something, but no job."""
    if not (out / JOB_FILE).exists() and not _is_free(out):
        raise OutputError(f"--fresh: {str(out)!r} holds no audiomill job, so nothing was removed")


def clear(out: Path) -> None:
    """Removes what a job wrote, and nothing else."""
    check_clearable(out)
    # The job file goes first: what is half removed must not look like a job.
    parts = [path.name for path in out.glob(".*.part")] if out.is_dir() else []
    for name in (n for n in (*OURS, *parts) if n != LOCK_FILE):
        path = out / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _is_free(out: Path) -> bool:
    """Whether there is nothing but what a job of ours left that was stopped while it began."""
    if not out.exists():
        return True
    if not out.is_dir():
        return False
    names = {path.name for path in out.iterdir()}
    return all(name in OURS or name.endswith(".part") for name in names)


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
            logging.getLogger(__name__).warning("%s cannot be locked: run one job at a time", out)
        yield


def job_record(job: Job) -> dict[str, Any]:
    """What `job.json` holds: the resolved spec and the digests that must agree to go on."""
    return {
        "audiomill": 1,
        "fingerprint": job.fingerprint(),
        "stages": job.stage_fingerprints(),
        "spec": job.spec.model_dump(mode="json"),
    }


def read_job(out: Path) -> dict[str, Any]:
    """`job.json` of an output folder; raises `OutputError` if there is none or it is damaged."""
    path = out / JOB_FILE
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OutputError(
            f"{str(out)!r} holds no audiomill output (no {JOB_FILE} in it); name the `output` "
            "folder of a job, or run the job first"
        ) from None
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} is damaged ({error}); run the job with --fresh") from error
    if not isinstance(record, dict) or "fingerprint" not in record:
        raise OutputError(f"{path} is no audiomill job file; run the job with --fresh")
    return record


def write_inputs(out: Path, sources: tuple[Source, ...]) -> None:
    """The inputs of the job, as listed when it began."""
    table = pa.table(
        {
            "source_id": [s.source_id for s in sources],
            "uri": [s.uri for s in sources],
            "size_bytes": pa.array([s.size_bytes for s in sources], pa.int64()),
            "etag": [s.etag for s in sources],
        }
    )
    write_parquet(table, out / INPUTS_FILE)


def read_inputs(out: Path) -> tuple[Source, ...]:
    """The inputs that the job was begun with."""
    try:
        table = pq.read_table(out / INPUTS_FILE, columns=["uri", "size_bytes", "etag"])
    except (OSError, ValueError) as error:
        raise OutputError(f"{out / INPUTS_FILE} cannot be read ({error}); use --fresh") from error
    return tuple(Source(**row) for row in table.to_pylist())


def _check_same_job(job: Job, job_file: Path) -> None:
    was = read_job(job_file.parent)
    if was["fingerprint"] == job.fingerprint():
        return
    changed = _changes(was, job_record(job))
    raise OutputError(
        f"output {str(job_file.parent)!r} was begun by another job: {', '.join(changed)} changed; "
        "name another output, or start over with --fresh"
    )


def _changes(was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Names of what differs between two job records, the most telling first."""
    changed = []
    for section in ("name", "inputs", "seed", "tokenize"):
        if was["spec"].get(section) != now["spec"].get(section):
            changed.append(section)
    labels = dict.fromkeys([*was["stages"], *now["stages"]])
    for label in labels:
        if was["stages"].get(label) != now["stages"].get(label):
            changed.append(f"stages.{label}")
    if not changed and list(was["stages"]) != list(now["stages"]):
        changed.append("the order of stages")
    return changed or ["an engine or a model"]


def _check_same_inputs(out: Path, was: tuple[Source, ...], now: tuple[Source, ...]) -> None:
    if was == now:
        return
    before, after = {s.uri: s for s in was}, {s.uri: s for s in now}
    added = sorted(after.keys() - before.keys())
    gone = sorted(before.keys() - after.keys())
    changed = sorted(uri for uri in before.keys() & after.keys() if before[uri] != after[uri])
    said = [
        f"{len(uris)} {what} (the first: {uris[0]})"
        for what, uris in (("new", added), ("gone", gone), ("changed", changed))
        if uris
    ]
    raise OutputError(
        f"the inputs are not those that output {str(out)!r} was begun with: {', '.join(said)}; "
        "name another output, or start over with --fresh"
    )
