"""Which shard files a job has committed: what table `shards` says, never what lies in the folder.

The log under `manifest/` is read with `deltalake`, which leaves out files that a later entry took
away (`audiomill forget`): versions before it can no longer be opened then. From a store that
`deltalake` does not know (any that fsspec does), the log is copied first, which is small.
"""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from model.loader.range_cache import RangeCache
from model.loader.storage import Storage
from schemas.errors import OutputError
from schemas.ids import digest
from schemas.secret_words import without_secrets
from schemas.shards import SHARDS

LOG = "manifest/_delta_log"
_LAST_CHECKPOINT = "_last_checkpoint"
_PARTITION = "table=shards/"
_COLUMNS = ["file", "num_rows", "num_frames", "size_bytes", "sha256", "num_codebooks", "tokenizer"]


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A committed file: what it is called under the output, and what it must be."""

    name: str
    num_rows: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Committed:
    """The shards of an output as of one version of its manifest."""

    storage: Storage
    version: int
    """Of the manifest's log; an output that grows has a new one with every commit."""
    table: pa.Table
    """Rows of table `shards`, by SHA-256: names and the order of commits decide nothing."""
    tokenizer: str
    """Fingerprint that all shards share."""
    num_codebooks: int
    """The fewest that any shard has."""

    @property
    def num_files(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def digest(self) -> str:
        """Equal for equal shards, wherever they lie and whatever else the output holds."""
        return digest("manifest", *self.table["sha256"].to_pylist())

    def file(self, number: int) -> ShardFile:
        row = self.table.slice(number, 1).to_pylist()[0]
        return ShardFile(f"shards/{row['file']}", row["num_rows"], row["size_bytes"], row["sha256"])


def open_committed(uri: str, cache: RangeCache, version: int | None = None) -> Committed:
    """Shards of the output at `uri`, or at its `shards/`; as of `version`, or now.

    Raises `OutputError` where there is none, or where shards come from different tokenizers.
    """
    named = storage = Storage(uri, cache)
    if not storage.names(LOG) and storage.uri.endswith("/shards"):
        storage = Storage(storage.uri.removesuffix("/shards"), cache)
    if not storage.names(LOG):
        if not named.exists:
            raise OutputError(
                f"{named.shown}: there is no such folder; name the `output` folder of a job"
            )
        raise OutputError(
            f"{without_secrets(uri)}: no manifest beside the shards, so nobody knows which of "
            "them are whole; name the `output` folder of a job, or a copy with both `manifest/` "
            "and `shards/`"
        )
    with _log_on_disk(storage) as folder:
        try:
            delta = DeltaTable(str(folder), version=version)
            found = delta.get_add_actions(flatten=True).column("path").to_pylist()
            seen = int(delta.version())
        except (DeltaError, OSError) as error:
            wanted = "" if version is None else f" at version {version}"
            raise OutputError(
                f"{storage.inside('manifest')}: its log cannot be read{wanted} ({error}); restore "
                "it, or name a version that it has"
            ) from error
    names = sorted(name for name in found if name.startswith(_PARTITION))
    parts = [_rows(storage, f"manifest/{name}") for name in names]
    table = pa.concat_tables(parts) if parts else SHARDS.schema().empty_table().select(_COLUMNS)
    if not table.num_rows:
        raise OutputError(
            f"{storage.shown}: no shard is committed; give the job a 'tokenize' section and run it"
        )
    table = table.sort_by("sha256").combine_chunks()
    return Committed(
        storage=storage,
        version=seen,
        table=table,
        tokenizer=_one_tokenizer(storage, table),
        num_codebooks=min(table["num_codebooks"].to_pylist()),
    )


@contextlib.contextmanager
def _log_on_disk(storage: Storage) -> Iterator[Path]:
    if (local := storage.local_folder) is not None:
        yield local / "manifest"
        return
    with tempfile.TemporaryDirectory(prefix="audiomill-") as folder:
        log = Path(folder) / "_delta_log"
        log.mkdir()
        # The hint may name a checkpoint that a running job wrote after the listing, which is then
        # not among the copies; without it the newest one of the listing is found by its name.
        for name in (name for name in storage.names(LOG) if name != _LAST_CHECKPOINT):
            (log / name).write_bytes(storage.read_whole(f"{LOG}/{name}"))
        yield Path(folder)


def _rows(storage: Storage, name: str) -> pa.Table:
    data = pa.BufferReader(storage.read_whole(name))
    try:
        with pq.ParquetFile(data, page_checksum_verification=True, pre_buffer=False) as file:
            return file.read(columns=_COLUMNS).cast(
                pa.schema([SHARDS.schema().field(column) for column in _COLUMNS])
            )
    except (OSError, pa.ArrowException) as error:
        raise OutputError(
            f"{storage.inside(name)} is committed but cannot be read ({error}); restore it, or "
            "run the job into a new output"
        ) from error


def _one_tokenizer(storage: Storage, table: pa.Table) -> str:
    found = sorted(set(table["tokenizer"].to_pylist()))
    if len(found) > 1:
        of_each = [
            f"{name} by {_brief(fingerprint)}"
            for fingerprint in found
            for name in table.filter(pa.compute.field("tokenizer") == fingerprint)["file"][
                :1
            ].to_pylist()
        ]
        raise OutputError(
            f"{storage.shown}: shards of {len(found)} tokenizers ({'; '.join(of_each)}), whose "
            "codes do not mean the same; tokenize all of them with one"
        )
    return str(found[0])


def _brief(fingerprint: str) -> str:
    """Enough of a fingerprint to tell it from another."""
    try:
        facts = json.loads(fingerprint)
        return f"weights {str(facts['weights_sha256'])[:12]}, {facts['dtype']}"
    except (ValueError, TypeError, KeyError):
        return f"{fingerprint[:40]!a}"
