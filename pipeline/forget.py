"""Forgets inputs of a finished job: no table, shard or page has a row of theirs afterwards.

One entry of the log does it: it takes the files that hold rows of theirs out of the tables, puts
files without those rows in their place, and adds a tombstone an input. Before it all is as it was,
after it nobody reads them any more; then the old files are deleted, and with them what attempts
left that came to nothing, since it may hold the same rows. Stopped anywhere, the same command goes
on. A job that is under way cannot forget, because its next step might bring the rows back.

What stays is the address: the list of inputs (`inputs-*.parquet`) has it, because a job is known by
its inputs, and so have the tombstone's `source_id`, a digest of the address, and the spec, if it
names that one file. Not reached are the input itself, what was exported, trained or cached from
the output elsewhere, its backups and versions that an object store keeps, the working copies of
machines that do not open the output again, and a report that is written at the same moment.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.catalog import write_catalog
from pipeline.commit import MAX_TRIES
from pipeline.data_name import epoch_of
from pipeline.delta_log import TABLE_FOLDER
from pipeline.delta_store import SHARDS_FOLDER
from pipeline.files import PART_ENDING, storage_error
from pipeline.garbage import collect
from pipeline.manifest import Manifest, write_rows
from pipeline.output import read_inputs
from pipeline.output_lock import locked
from pipeline.rewrite import Gone, files_without
from pipeline.store import UnknownOutcomeError
from pipeline.sweep import NO_BYTES
from pipeline.units import FINISHED
from pipeline.verify import orphans_of
from pipeline.working_copy import listing, remove, shown, stat
from schemas.errors import OutputError, SpecError, StorageError
from schemas.ids import digest
from schemas.source import Source

_REPORT = "report"
_SCORES = "scores.json"
_COLUMNS = ["source_id", "recording_id", "outcome", "num_segments", "duplicate_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What a call did."""

    sources: tuple[Source, ...]
    """Forgotten by it; empty if there was nothing left to forget."""
    copies: tuple[Source, ...]
    """Those among them that were not asked for: their bytes are those of one that was."""
    already: tuple[Source, ...]
    """Asked for, and forgotten earlier."""
    similar: tuple[Source, ...]
    """Not forgotten, though found to be near-duplicates of one that was."""
    num_files: int
    """Committed files that held rows of theirs."""
    deleted: tuple[str, ...]
    """Names of the files that are gone: those, and leftovers of attempts."""
    removed_pages: tuple[str, ...]
    """Report and scores, which showed what they said."""

    def to_text(self) -> str:
        """A line an input, and what else is to be known."""
        copies = set(self.copies)
        lines = [
            f"forgotten: {s.uri}" + (" (an exact copy)" if s in copies else "")
            for s in self.sources
        ]
        lines += [f"already forgotten: {s.uri}" for s in self.already]
        lines += [
            f"not forgotten: {s.uri}, which holds much of the same audio (near-duplicate)"
            for s in self.similar
        ]
        lines += [
            f"{len(self.sources)} inputs forgotten, {self.num_files} files without their rows now, "
            f"{len(self.deleted)} files deleted"
        ]
        if self.removed_pages:
            lines += ["the report and the scores are gone: 'audiomill report OUT' writes new ones"]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Choice:
    """What there is to forget, as of one version of the tables."""

    rows: tuple[dict[str, Any], ...]
    """Of `recordings`, in order of id."""
    similar: frozenset[str]

    @property
    def gone(self) -> Gone:
        recordings = {row["recording_id"] for row in self.rows} - {None, NO_BYTES}
        return Gone(frozenset(row["source_id"] for row in self.rows), frozenset(recordings))


def forget(out: Path, sources: Sequence[str]) -> Forgotten:
    """Forgets inputs of the output `out`, each named by its `source_id` or its URI as listed.

    All inputs with the same bytes are forgotten together. Again is harmless, and goes on where a
    call was stopped. Raises `SpecError` for a name that is no input's, `OutputError` for an output
    that is not finished or is damaged, `StorageError` where the store fails.
    """
    listed = {source.source_id: source for source in read_inputs(out)}
    manifest = Manifest(out)
    if not manifest.is_committed(FINISHED):
        raise OutputError(
            f"output {shown(out)!r} is not finished, so what is forgotten could come back; run its "
            "job to the end first, then forget"
        )
    asked = _asked(listed.values(), sources, out)
    with locked(out):
        already = manifest.forgotten() & asked
        choice, num_files = _commit(manifest, asked)
        pages, deleted = _delete(manifest, forgot=bool(choice.rows))
        write_catalog(manifest)
    gone = choice.gone.sources
    return Forgotten(
        sources=_named(listed, gone),
        copies=_named(listed, gone - asked),
        already=_named(listed, already),
        similar=_named(listed, choice.similar),
        num_files=num_files,
        deleted=tuple(deleted),
        removed_pages=tuple(pages),
    )


def _asked(listed: Collection[Source], names: Sequence[str], out: Path) -> frozenset[str]:
    found = {source.uri: source.source_id for source in listed}
    found |= {source.source_id: source.source_id for source in listed}
    if unknown := [name for name in names if name not in found]:
        raise SpecError(
            f"{', '.join(repr(name) for name in unknown)}: no input of {shown(out)!r} has that URI "
            "or source_id, and nothing was forgotten; audiomill query OUT 'SELECT source_id, uri "
            "FROM recordings' lists them"
        )
    return frozenset(found[name] for name in names)


def _named(listed: dict[str, Source], ids: Collection[str]) -> tuple[Source, ...]:
    return tuple(sorted((listed[name] for name in ids), key=lambda source: source.uri))


def _commit(manifest: Manifest, asked: frozenset[str]) -> tuple[_Choice, int]:
    """Makes the entry; returns what it forgot, and how many files held rows of it."""
    store = manifest.store
    tried = _Choice((), frozenset()), 0
    asked_store = False
    for _ in range(MAX_TRIES):
        # An entry at this number is made only if nobody made one since: then all that is read
        # below, and the epoch, are as of the entry before it.
        number = store.refresh() + 1
        epoch = store.epoch()
        choice = _choose(manifest, asked)
        if not choice.rows:
            return tried if asked_store else (choice, 0)
        unit = digest("forget", *sorted(choice.gone.sources))
        replacements = files_without(manifest, choice.gone, epoch)
        tombstones = write_rows(manifest.out, unit, epoch, {"tombstones": _tombstones(choice)})
        tried = choice, sum(len(replacement.gone) for replacement in replacements)
        try:
            if store.replace(number, unit, replacements, tombstones, epoch):
                store.refresh()
                return tried
        except UnknownOutcomeError:
            asked_store = True
    raise StorageError(
        f"{shown(manifest.out)}: nothing could be forgotten in {MAX_TRIES} tries; is the store "
        "reachable and not written by many at once? Run the same command again"
    )


def _choose(manifest: Manifest, asked: frozenset[str]) -> _Choice:
    """What was asked for and is not forgotten yet, and all that has the same bytes."""
    left = asked - manifest.forgotten()
    if not left:
        return _Choice((), frozenset())
    rows = {row["source_id"]: row for row in manifest.table("recordings", _COLUMNS).to_pylist()}
    if missing := left - rows.keys():
        raise OutputError(
            f"{shown(manifest.out)}: input {min(missing)} has no row in table recordings; the "
            "output is damaged (audiomill status --verify says more), nothing was forgotten"
        )
    # Empty files have the same bytes, and nothing in common.
    recordings = {rows[name]["recording_id"] for name in left} - {None, NO_BYTES}
    chosen = {n for n, row in rows.items() if n in left or row["recording_id"] in recordings}
    pairs = [(name, row["duplicate_of"]) for name, row in rows.items() if row["duplicate_of"]]
    similar = {kept for repeat, kept in pairs if repeat in chosen and kept in rows}
    similar |= {repeat for repeat, kept in pairs if kept in chosen}
    return _Choice(tuple(rows[name] for name in sorted(chosen)), frozenset(similar - chosen))


def _tombstones(choice: _Choice) -> list[dict[str, Any]]:
    now = datetime.now(UTC)
    return [
        {**{name: row[name] for name in ("source_id", "outcome", "num_segments")}, "ended_at": now}
        for row in choice.rows
    ]


def _delete(manifest: Manifest, *, forgot: bool) -> tuple[list[str], list[str]]:
    """Deletes what no entry names, and pages that show it; returns the names of both.

    Pages go first and data files last, so that as long as something is left to delete a data file
    says so.
    """
    out = manifest.out
    if not forgot and not any(_is_data(name) for name in orphans_of(manifest)):
        return [], []
    pages = set(listing(out, _REPORT)) | set(_here(out, _REPORT))
    if stat(out, _SCORES) or (out / _SCORES).exists():
        pages.add(_SCORES)
    for name in sorted(pages):
        remove(out, name)
    for name in _here(out, TABLE_FOLDER) + _here(out, SHARDS_FOLDER) + _here(out):
        if name.endswith(PART_ENDING):
            remove(out, name)
    return sorted(pages), collect(manifest.store, _is_data)


def _is_data(name: str) -> bool:
    """Whether an attempt wrote that file: whole under its name, or in part."""
    return epoch_of(name) is not None or name.endswith(PART_ENDING)


def _here(out: Path, folder: str = "") -> list[str]:
    """Names of the files in a folder on this machine; not below it if it is the output itself."""
    try:
        found = (out / folder).rglob("*") if folder else out.iterdir()
        return [path.relative_to(out).as_posix() for path in found if not path.is_dir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise storage_error(out / folder, error) from error
