"""`audiomill text-shards`: written documents as shards without sound, for a text-only source.

A document is a `.txt` file, a line of a `.jsonl` file or a row of a `.parquet` file; a long one is
cut at the end of a paragraph, a line, a sentence or a word.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.loader.into_place import into_place
from pipeline.manifest import Manifest, write_rows
from pipeline.shards import ShardPlan, ShardRow, write_shard
from schemas.errors import OutputError, SpecError, StorageError
from schemas.ids import digest
from schemas.source import Source
from schemas.tokens import NO_TOKENIZER

MAX_CHARS = 6000
"""About 1,500 text ids of English and 4,000 to 6,000 of Chinese: within a context of 8,192."""
ENDINGS = (".txt", ".jsonl", ".parquet")
NUM_CODEBOOKS = 8
ROWS_PER_SHARD = 8192
ROWS_PER_GROUP = 1024
_BATCH_ROWS = 1024
_RATE_HZ = 24_000  # of a timeline on which nothing lies
_SEPARATORS = ("\n\n", "\n", "。", ". ", " ")
Document = tuple[str, object]
"""Where it is from (`FILE` or `FILE:NUMBER`), and its text or what stands in its place."""


@dataclass(kw_only=True)
class TextShards:
    """What became of the documents."""

    num_documents: int = 0
    """That are in the shards."""
    num_rows: int = 0
    """Pieces of them."""
    num_empty: int = 0
    """Dropped: no text, or nothing but white space."""
    failed: list[str] = field(default_factory=list)
    """What could not be read, and why."""


def write_text_shards(
    source: Path, out: Path, *, column: str = "text", max_chars: int = MAX_CHARS
) -> TextShards:
    """Writes the documents of a file, or of all files below a folder, as the new output `out`.

    `column` is the key or column with the text. The output appears when it is whole; what cannot
    be read is told in `failed` and left out. Raises `SpecError` for a source without documents,
    `OutputError` for an `out` that is there, `StorageError` where it cannot be written.
    """
    if max_chars < 1:
        raise SpecError(f"--max-chars {max_chars}: wanted 1 or more")
    if out.exists():
        raise OutputError(f"{out}: is there already; name a folder that is not")
    found = TextShards()
    files = _files(source, found)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
            part = Path(scratch) / "part"
            rows = _rows(_documents(source, files, column, found), max_chars, found)
            _write(rows, part)
            if not found.num_rows:
                raise SpecError(
                    f"{source}: no text in {len(files)} files ({found.num_empty} empty documents, "
                    f"{len(found.failed)} failed{': ' + found.failed[0] if found.failed else ''})"
                )
            into_place(part, out)
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            f"{out}: cannot be written ({error.strerror or error}); make room, or name another "
            "folder"
        ) from error
    return found


def pieces(text: str, max_chars: int) -> Iterator[str]:
    """The text in pieces of at most `max_chars`; together they are the text."""
    at = 0
    while len(text) - at > max_chars:
        least, stop = at + max_chars // 2, at + max_chars
        cuts = (text.rfind(sep, least, stop) + len(sep) for sep in _SEPARATORS if sep in text)
        cut = next((cut for cut in cuts if cut > least), stop)
        yield text[at:cut]
        at = cut
    yield text[at:]


def _files(source: Path, found: TextShards) -> list[Path]:
    if source.is_file():
        files = [source] if source.suffix in ENDINGS else []
    else:
        files = []
        for path in sorted(path for path in source.rglob("*") if path.suffix in ENDINGS):
            if why := _why_not(path, source):
                found.failed.append(f"{_name(path, source)}: {why}")
            elif not path.is_dir():
                files.append(path)
    if not files and not found.failed:
        raise SpecError(
            f"{source}: no documents there; wanted a file, or a folder with files, of "
            f"{', '.join(ENDINGS)}"
        )
    return files


def _why_not(path: Path, source: Path) -> str | None:
    """Why what lies below `source` is no file to read; None for files and folders that are fine.

    A link that leads elsewhere would train on what nobody named, a pipe would be waited on forever.
    """
    try:
        if not path.is_file() and (path.is_symlink() or not path.is_dir()):
            return "no regular file; wanted a document"
        if not path.resolve().is_relative_to(source.resolve()):
            return f"a link out of {source}; copy the document there, or name its folder"
    except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError
        return f"cannot be looked at ({error})"
    return None


def _name(path: Path, source: Path) -> str:
    name = path.name if path == source else path.relative_to(source).as_posix()
    return os.fsencode(name).decode(errors="backslashreplace")


def _documents(
    source: Path, files: Sequence[Path], column: str, found: TextShards
) -> Iterator[Document]:
    for path in files:
        name = _name(path, source)
        try:
            if path.suffix == ".txt":
                yield name, path.read_text(encoding="utf-8")
            elif path.suffix == ".jsonl":
                yield from _of_lines(path, name, column, found)
            else:
                yield from _of_table(path, name, column, found)
        except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
            found.failed.append(f"{name}: {error}")


def _of_lines(path: Path, name: str, column: str, found: TextShards) -> Iterator[Document]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield f"{name}:{number}", json.loads(line)[column]
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                found.failed.append(f"{name}:{number}: no JSON object with {column!r} ({error!r})")


def _of_table(path: Path, name: str, column: str, found: TextShards) -> Iterator[Document]:
    with pq.ParquetFile(path) as file:
        if column not in file.schema_arrow.names:
            names = ", ".join(file.schema_arrow.names)
            found.failed.append(f"{name}: no column {column!r}, only {names}")
            return
        number = 0
        for batch in file.iter_batches(_BATCH_ROWS, columns=[column]):
            for text in batch.column(0).to_pylist():
                yield f"{name}:{number}", text
                number += 1


def _rows(documents: Iterator[Document], max_chars: int, found: TextShards) -> Iterator[ShardRow]:
    for where, text in documents:
        if text is None or (isinstance(text, str) and not text.strip()):
            found.num_empty += 1
            continue
        if not isinstance(text, str):
            found.failed.append(f"{where}: {type(text).__name__} where text was wanted")
            continue
        try:
            text.encode()
        except UnicodeEncodeError as error:
            found.failed.append(
                f"{where}: half a surrogate pair at character {error.start}, which is no text; "
                "wanted whole characters"
            )
            continue
        found.num_documents += 1
        document = digest("text", where, text)
        for number, piece in enumerate(pieces(text, max_chars)):
            if piece.strip():
                found.num_rows += 1
                yield _row(where, document, number, piece)


def _row(where: str, document: str, number: int, text: str) -> ShardRow:
    return ShardRow(
        source=Source(where, 0, ""),
        segment_id=digest(document, number),
        recording_id=document,
        speaker="",
        start_sample=number,
        end_sample=number,
        sample_rate_hz=_RATE_HZ,
        language=None,
        text=text,
        caption_en=None,
        caption_zh=None,
    )


def _write(rows: Iterator[ShardRow], out: Path) -> None:
    manifest = Manifest.create(out)
    number = 0
    while part := tuple(islice(rows, ROWS_PER_SHARD)):
        name = f"shard-{number:06d}-{digest(*(row.segment_id for row in part))[:16]}"
        epoch = manifest.epoch()
        file = write_shard(
            ShardPlan(name, part),
            [np.empty((0, NUM_CODEBOOKS), np.uint16)] * len(part),
            out,
            epoch=epoch,
            fingerprint=NO_TOKENIZER,
            num_codebooks=NUM_CODEBOOKS,
            rows_per_group=ROWS_PER_GROUP,
        )
        row = {
            "shard": name,
            "file": file.name.rpartition("/")[2],
            "num_rows": file.num_rows,
            "num_frames": 0,
            "size_bytes": file.size_bytes,
            "sha256": file.sha256,
            "num_codebooks": NUM_CODEBOOKS,
            "tokenizer": NO_TOKENIZER,
        }
        unit = digest("shard", name)
        manifest.commit(unit, [file, *write_rows(out, unit, epoch, {"shards": [row]})], epoch)
        number += 1
