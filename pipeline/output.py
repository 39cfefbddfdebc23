"""The output folder of a job: whose it is, which inputs it was begun with, what is still to do."""

import errno
import hashlib
import io
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import attempts, events, heartbeat
from pipeline.assemble import Job, Pass
from pipeline.bucket import PROBE
from pipeline.delta_log import TABLE_FOLDER
from pipeline.delta_store import SHARDS_FOLDER, is_untouched
from pipeline.files import part_of, storage_error, write_parquet
from pipeline.inputs import Listing, bounds_of
from pipeline.manifest import Manifest
from pipeline.output_lock import LOCK_FILE
from pipeline.store import DataFile
from pipeline.units import PlannedUnit, UnitRule, open_units, pending_sources
from pipeline.working_copy import (
    JOB_FILE,
    STORE_FILE,
    bucket_of,
    create,
    folder_of,
    forget,
    has,
    publish,
    read,
    shown,
)
from schemas.errors import AudiomillError, OutputError
from schemas.job import InputsSpec
from schemas.source import Source

FORMAT = 2
"""Of `job.json` and of the names of files; other ones are refused."""
_NO_CHECKSUM = "0" * 64
"""Stands in it where the checksum goes while the checksum is taken."""
INPUTS_PATTERN = "inputs-*.parquet"
"""`job.json` says which one; several beginners may have left their own."""
OURS = (
    *(JOB_FILE, LOCK_FILE, STORE_FILE, TABLE_FOLDER, SHARDS_FOLDER, "report", "catalog.duckdb"),
    *(attempts.FOLDER, events.FOLDER, heartbeat.FOLDER),
    *("scores.json", INPUTS_PATTERN, ".*.part", f"{PROBE}*"),
)
"""Names of everything that a job writes under its output."""
_RESTORE = "restore it from a backup, or run the job into a new output"


@dataclass(frozen=True)
class Output:
    """An output folder that belongs to this job."""

    out: Path
    manifest: Manifest
    sources: tuple[Source, ...]
    rule: UnitRule
    """How inputs are put together in units, as it was when the job began."""

    def open_units(self, sweep: Pass) -> list[PlannedUnit]:
        """What is left to do of a sweep, see `units.py`."""
        return open_units(self.manifest, self.sources, self.rule, sweep)

    def pending(self, job: Job) -> list[Source]:
        """Inputs that have not come to their end."""
        found = pending_sources(self.manifest, self.sources, self.rule, job)
        forgotten = self.manifest.forgotten() if found else ()
        return [source for source in found if source.source_id not in forgotten]


def find_output(job: Job, listing: Listing) -> Output | None:
    """The job's output folder, or None if there is nothing yet. Touches nothing.

    Raises `OutputError` when what is there belongs to another job or to somebody else.
    """
    out = folder_of(job.spec.output)
    if has(out, JOB_FILE):
        record = read_job(out)
        _check_same_job(job, out, record)
        sources, manifest = read_inputs(out), Manifest(out)
        _check_same_inputs(manifest, sources, listing.sources)
        return Output(out, manifest, sources, UnitRule(**record["units"]))
    if not _is_free(out):
        raise OutputError(
            f"output {shown(out)!r} is not empty and holds no audiomill job; name another folder"
        )
    return None


def open_output(job: Job, listing: Listing) -> Output:
    """The job's output folder, begun if there is none yet.

    Drivers that begin at the same time agree: the first job file decides, and whose job or inputs
    are others is refused. What a run left that was stopped while it began does no harm.
    """
    found = find_output(job, listing)
    if found is not None:
        return found
    out = folder_of(job.spec.output)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_made(out, error) from error
    if bucket := bucket_of(out):
        bucket.check()
    if not is_untouched(out) and not has(out, JOB_FILE):
        raise OutputError(
            f"output {shown(out)!r} holds tables but no {JOB_FILE}, so nobody can say whose they "
            "are; name another folder, or start over with --fresh"
        )
    inputs = write_inputs(out, listing.sources)
    Manifest.create(out)
    # Last, so that a folder with a job file is a whole one.
    create(out, JOB_FILE, sealed(job_record(job, inputs)))
    found = find_output(job, listing)
    if found is None:
        raise OutputError(f"output {shown(out)!r} was removed while a run began; run it again")
    return found


def check_can_be_made(out: Path) -> None:
    """Refuses a folder that is not there and clearly cannot be made; touches nothing."""
    nearest = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise _not_made(out, NotADirectoryError(errno.ENOTDIR, f"{nearest} is a file"))
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise _not_made(out, PermissionError(errno.EACCES, f"{nearest} may not be written"))


def _not_made(out: Path, error: OSError) -> AudiomillError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
        return storage_error(out, error)  # the folder was well chosen, and its disk fails
    return OutputError(
        f"output {str(out)!r} cannot be made ({error.strerror or error}); name a folder that can "
        "be written"
    )


def check_clearable(out: Path) -> None:
    """Refuses to start over in a folder that holds something, but no job."""
    if not has(out, JOB_FILE) and not _is_free(out):
        raise OutputError(f"--fresh: {shown(out)!r} holds no audiomill job, so nothing was removed")


def clear(out: Path) -> None:
    """Removes what a job wrote, and nothing else."""
    check_clearable(out)
    if bucket := bucket_of(out):
        forget(out)  # first: a copy must not outlive what it is a copy of
        for name in (JOB_FILE, *bucket.list()):
            if _is_ours(name):
                bucket.delete(name)
    try:
        # First, so that what is half removed looks neither like a job nor like its tables.
        (out / JOB_FILE).unlink(missing_ok=True)
        if (out / TABLE_FOLDER).is_dir():
            (out / TABLE_FOLDER).rename(part_of(out / "cleared"))
        ours = (name for name in OURS if name not in (LOCK_FILE, STORE_FILE))
        for path in (path for name in ours for path in out.glob(name)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(out, error) from error


def _is_free(out: Path) -> bool:
    """Whether there is nothing but what a job of ours left that was stopped while it began."""
    if bucket := bucket_of(out):
        return all(_is_ours(name) for name in bucket.list())
    if not out.exists():
        return True
    if not out.is_dir():
        return False
    return all(_is_ours(path.name) for path in out.iterdir())


def _is_ours(name: str) -> bool:
    """Whether a job wrote what has that name in its output, or what lies in a folder of that."""
    first = PurePosixPath(PurePosixPath(name).parts[0])
    return any(first.match(pattern) for pattern in OURS)


def job_record(job: Job, inputs: DataFile) -> dict[str, Any]:
    """What `job.json` holds: the resolved spec and all that must agree to go on."""
    return {
        "audiomill": FORMAT,
        "fingerprint": job.fingerprint(),
        "stages": job.stage_fingerprints(),
        "engines": {named.label: named.stage.describe() for named in job.stages},
        "code": job.code_fingerprints(),
        "inputs": asdict(inputs),
        "units": asdict(UnitRule.of(job.spec.run, inputs.num_rows)),
        "spec": job.spec.model_dump(mode="json"),
    }


def sealed(record: dict[str, Any]) -> bytes:
    """`job.json` of a record: with a checksum over all of its bytes but the checksum's own."""
    whole = {"sha256": ""} | record | {"sha256": _NO_CHECKSUM}  # the first of its keys
    text = json.dumps(whole, indent=2, ensure_ascii=False)
    return text.replace(_NO_CHECKSUM, _checksum(text.encode()), 1).encode()


def read_job(out: Path) -> dict[str, Any]:
    """`job.json` of an output folder; raises `OutputError` if there is none or it is damaged."""
    path = out / JOB_FILE
    try:
        data = read(out, JOB_FILE)
        record: dict[str, Any] = json.loads(data)
    except FileNotFoundError:
        raise OutputError(
            f"{shown(out)!r} holds no audiomill output (no {JOB_FILE} in it); name the `output` "
            "folder of a job, or run the job first"
        ) from None
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} is damaged ({error}); {_RESTORE}") from error
    if not isinstance(record, dict) or "fingerprint" not in record:
        raise OutputError(f"{path} is no audiomill job file; run the job with --fresh")
    if record.get("audiomill") != FORMAT:
        raise OutputError(
            f"{path} has format {record.get('audiomill')}, and this audiomill reads {FORMAT} only; "
            "use the audiomill that wrote it, or run the job with --fresh"
        )
    said = str(record.get("sha256"))
    if said != _checksum(data.replace(said.encode(), _NO_CHECKSUM.encode(), 1)):
        raise OutputError(f"{path} is damaged (its checksum disagrees); {_RESTORE}")
    return record


def _checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write_inputs(out: Path, sources: tuple[Source, ...]) -> DataFile:
    """The inputs of the job, as listed when it began."""
    table = pa.table(
        {
            "source_id": [s.source_id for s in sources],
            "uri": [s.uri for s in sources],
            "size_bytes": pa.array([s.size_bytes for s in sources], pa.int64()),
            "etag": [s.etag for s in sources],
        }
    )
    file = write_parquet(table, out, "", "inputs", 0)
    publish(out, file.name)
    return file


def read_inputs(out: Path) -> tuple[Source, ...]:
    """The inputs that the job was begun with."""
    record = read_job(out)
    said = DataFile(**record["inputs"])
    path = out / said.name
    try:
        data = read(out, said.name)
        if hashlib.sha256(data).hexdigest() != said.sha256:
            raise ValueError("its checksum disagrees")
        table = pq.read_table(io.BytesIO(data), columns=["uri", "size_bytes", "etag"])
        bounds = bounds_of(InputsSpec.model_validate(record["spec"]["inputs"]))
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} cannot be read ({error}); restore it, or use --fresh") from error
    return tuple(Source(**row, bounds=bounds) for row in table.to_pylist())


def _check_same_job(job: Job, out: Path, was: dict[str, Any]) -> None:
    if (was["fingerprint"], was["code"]) == (job.fingerprint(), job.code_fingerprints()):
        return
    changed = _changes(was, job)
    raise OutputError(
        f"output {shown(out)!r} was begun by another job: {', '.join(changed)} changed; "
        "name another output, or start over with --fresh"
    )


def _changes(was: dict[str, Any], job: Job) -> list[str]:
    """Names of what differs between a job record and a job, the most telling first."""
    changed = []
    spec, stages = job.spec.model_dump(mode="json"), job.stage_fingerprints()
    engines = {named.label: named.stage.describe() for named in job.stages}
    for section in ("name", "inputs", "seed", "tokenize"):
        if was["spec"].get(section) != spec.get(section):
            changed.append(section)
    for label in dict.fromkeys([*was["stages"], *stages]):
        if was["stages"].get(label) != stages.get(label):
            before, now = was["engines"].get(label), engines.get(label)
            of_engine = f" ({before!r} then, {now!r} now)" if before and now != before else ""
            changed.append(f"stages.{label}{of_engine}")
    if not changed and list(was["stages"]) != list(stages):
        changed.append("the order of stages")
    code = job.code_fingerprints()
    changed += [
        f"the code of {name}" for name in code if was["code"].get(name, code[name]) != code[name]
    ]
    return changed or ["an engine or a model"]


def _check_same_inputs(
    manifest: Manifest, was: tuple[Source, ...], now: tuple[Source, ...]
) -> None:
    if was == now:
        return
    before, after = {s.uri: s for s in was}, {s.uri: s for s in now}
    # Whoever has an input forgotten mostly deletes it too.
    forgotten = manifest.forgotten()
    missing = before.keys() - after.keys()
    added = sorted(after.keys() - before.keys())
    gone = sorted(uri for uri in missing if before[uri].source_id not in forgotten)
    changed = sorted(uri for uri in before.keys() & after.keys() if before[uri] != after[uri])
    said = [
        f"{len(uris)} {what} (the first: {uris[0]})"
        for what, uris in (("new", added), ("gone", gone), ("changed", changed))
        if uris
    ]
    if said:
        raise OutputError(
            f"the inputs are not those that output {shown(manifest.out)!r} was begun with: "
            f"{', '.join(said)}; name another output, or start over with --fresh"
        )
