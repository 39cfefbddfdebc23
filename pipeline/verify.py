"""Proves an output from its files alone: every file as committed, every input and row counted.

It reads every byte that a commit names and trusts no count and no checkpoint: the log is read entry
by entry. Files that no commit names are listed, and are no problem: nobody sees them.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.data_name import data_name, epoch_of, unit_of
from pipeline.delta_log import PARTITION
from pipeline.delta_store import SHARDS_FOLDER, wrong_checkpoints
from pipeline.manifest import Manifest
from pipeline.output import read_inputs, read_job
from pipeline.store import DataFile
from pipeline.units import FINISHED
from pipeline.verify_rules import accounts_of, broken_rules
from pipeline.working_copy import read, unused_copy
from schemas.manifest import TABLES
from schemas.source import Source
from schemas.tokens import FINGERPRINT_KEY

_SHARD_ROWS = pa.schema(
    [
        *(("shard", pa.string()), ("file", pa.string()), ("shard_row", pa.int64())),
        *(("segment_id", pa.string()), ("recording_id", pa.string())),
        *(("num_frames", pa.int64()), ("tokenizer", pa.string()), ("sha256", pa.string())),
    ]
)


@dataclass(frozen=True, slots=True)
class Verification:
    """What was proved of an output; `problems` is empty if all of it is as it was committed."""

    name: str
    commits: int
    files: int
    size_bytes: int
    accounts: dict[str, int] | None
    """inputs = done + rejected + failed + forgotten + pending, and rows; None if damaged."""
    problems: tuple[str, ...]
    """A line each, which begins with the damaged file or the table."""
    orphans: tuple[str, ...]
    """Files that no commit names, so that nobody sees them; `audiomill gc` removes them."""

    @property
    def ok(self) -> bool:
        return not self.problems

    def to_json(self) -> str:
        return json.dumps({"ok": self.ok, **asdict(self)})

    def to_text(self) -> str:
        """A few lines for a person."""
        lines = [
            f"{self.name}: {self.commits} commits, {self.files} files, "
            f"{self.size_bytes / 1e6:.1f} MB read"
        ]
        if self.accounts:
            count = self.accounts
            lines += [
                f"{count['inputs']} inputs = {count['done']} done + {count['rejected']} rejected "
                f"+ {count['failed']} failed"
                + (f" + {count['forgotten']} forgotten" if count["forgotten"] else "")
                + f" + {count['pending']} pending",
                f"{count['segments']} segments, {count['kept']} kept, {count['tokens']} of them in "
                f"{count['shards']} shards"
                + (f", {count['uncoded']} without codes" if count["uncoded"] else ""),
            ]
        else:
            lines += ["rows were not counted, because files are damaged"]
        if self.orphans:
            lines += [f"{len(self.orphans)} files that no commit names ('audiomill gc' removes)"]
        lines += [f"PROBLEM {problem}" for problem in self.problems]
        return "\n".join([*lines, "as committed" if self.ok else "NOT as committed"])


def verify(out: Path) -> Verification:
    """Reads the whole output; raises `OutputError` if its log, job file or inputs are damaged.

    Runs may be at work: what is proved is the state that the log had when the call began. Of an
    output on an object store everything is fetched anew.
    """
    with unused_copy(out) as copy:
        return _verify(copy)


def _verify(out: Path) -> Verification:
    record = read_job(out)
    sources = read_inputs(out)
    manifest = Manifest(out, trust_checkpoints=False)
    commits = manifest.store.refresh()
    units = manifest.store.units()
    files = sorted(manifest.store.committed_files())
    problems = [f"{wrong}; the log itself is whole, delete it" for wrong in wrong_checkpoints(out)]
    shard_rows = []
    for file in files:
        try:
            table = _read(out, file, units)
        except (OSError, ValueError, pa.ArrowException) as error:
            problems.append(f"{file.name}: {error}")
            continue
        if file.name.startswith(f"{SHARDS_FOLDER}/"):
            shard_rows.append(_shard_rows(file, table))
    accounts = None
    if not problems:
        with manifest.connect(refresh=False) as db:
            db.register("inputs", _inputs_table(sources))
            db.register("shard_rows", pa.concat_tables([_SHARD_ROWS.empty_table(), *shard_rows]))
            accounts = accounts_of(db)
            problems += broken_rules(db)
        if FINISHED in units:
            problems += _unfinished(accounts, makes_shards=record["spec"]["tokenize"] is not None)
    return Verification(
        name=record["spec"]["name"],
        commits=commits,
        files=len(files),
        size_bytes=sum(file.size_bytes for file in files),
        accounts=accounts,
        problems=tuple(problems),
        orphans=tuple(orphans_of(manifest)),
    )


def orphans_of(manifest: Manifest) -> list[str]:
    """Files that no commit names, in order of name; some may be an attempt's that is at work."""
    names = set(manifest.store.list_files())
    # Only after the listing: what was committed in between is no orphan.
    manifest.store.refresh()
    return sorted(names - {file.name for file in manifest.store.committed_files()})


def _read(out: Path, file: DataFile, units: frozenset[str]) -> pa.Table:
    """The rows of a committed file; raises where they are not what was committed."""
    try:
        data = read(out, file.name, keep=not file.name.startswith(f"{SHARDS_FOLDER}/"))
    except FileNotFoundError:
        raise ValueError("is missing") from None
    if len(data) != file.size_bytes:
        raise ValueError(f"has {len(data)} bytes, {file.size_bytes} were committed")
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise ValueError("its bytes are not those that were committed (SHA-256)")
    folder, _, name = file.name.rpartition("/")
    unit, epoch = unit_of(name), epoch_of(name)
    if unit is None or epoch is None or name != data_name(unit, epoch, file.sha256):
        raise ValueError("its name is not that of its content")
    if folder != SHARDS_FOLDER and unit not in units:
        raise ValueError(f"is committed, but its unit {unit} is not")
    with pq.ParquetFile(
        pa.BufferReader(data), page_checksum_verification=True, pre_buffer=False
    ) as parquet:
        table = parquet.read()
    if table.num_rows != file.num_rows:
        raise ValueError(f"has {table.num_rows} rows, {file.num_rows} were committed")
    if folder != SHARDS_FOLDER:
        expected = TABLES[folder.rpartition(f"{PARTITION}=")[2]].schema()
        if not table.schema.equals(expected):
            raise ValueError("its columns are not those of its table")
    return table


def _shard_rows(file: DataFile, shard: pa.Table) -> pa.Table:
    """Which segment lies in which row, and how many frames there really are."""
    layers = [name for name in shard.column_names if name[0] == "q" and name[1:].isdigit()]
    frames = shard["num_frames"].cast(pa.int64())
    for layer in layers:
        # A row whose layers disagree counts no frames, so that it agrees with no table.
        same = pc.equal(pc.list_value_length(shard[layer]).cast(pa.int64()), frames)
        frames = pc.if_else(same, frames, -1)
    num = shard.num_rows
    name = file.name.rpartition("/")[2]
    tokenizer = (shard.schema.metadata or {}).get(FINGERPRINT_KEY, b"").decode()
    columns = [
        *(pa.repeat(unit_of(name), num), pa.repeat(name, num), pa.array(range(num), pa.int64())),
        *(shard["segment_id"], shard["recording_id"], frames),
        *(pa.repeat(tokenizer, num), pa.repeat(file.sha256, num)),
    ]
    return pa.table(columns, schema=_SHARD_ROWS)


def _inputs_table(sources: Sequence[Source]) -> pa.Table:
    return pa.table(
        {
            "source_id": [source.source_id for source in sources],
            "uri": [source.uri for source in sources],
            "size_bytes": pa.array([source.size_bytes for source in sources], pa.int64()),
            "etag": [source.etag for source in sources],
        }
    )


def _unfinished(count: dict[str, int], *, makes_shards: bool) -> list[str]:
    problems = []
    if count["pending"]:
        problems += [f"the job: finished, but {count['pending']} inputs are pending"]
    if makes_shards and count["kept"] != count["tokens"] + count["uncoded"]:
        problems += [
            f"the job: finished with {count['tokens']} of {count['kept']} segments coded and "
            f"{count['uncoded']} failed in it"
        ]
    return problems
