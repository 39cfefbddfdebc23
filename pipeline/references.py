"""Ground truth for scoring, found in a folder: transcripts and speaker turns of the inputs.

Two forms, which may be mixed; a manifest's non-empty cell beats a sidecar:

- sidecars `NAME.txt` (the transcript) and `NAME.rttm` (the turns) for an input `NAME.flac`;
- one `manifest.csv` in the folder with a column `path` and any of `transcript`, `rttm` (a file) and
  `language` (ISO 639-1); its paths are relative to the folder. Other columns are left alone.

An input inside the folder is found by its exact place. An input elsewhere (in a bucket, say)
is found by the longest tail of its path that names something here: `s3://b/calls/7.wav` takes
`calls/7.txt`, and only where that is absent `7.txt`.
"""

import csv
import io
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from schemas.errors import AudiomillError

MANIFEST_NAME = "manifest.csv"
_TRANSCRIPT_SUFFIX = ".txt"
_TURNS_SUFFIX = ".rttm"
_RTTM_FIELDS = 8  # type, file, channel, start, duration, orthography, subtype, speaker, ...


class GroundTruthError(AudiomillError, ValueError):
    """Ground truth that is there but cannot be read as what it claims to be."""


@dataclass(frozen=True, slots=True, order=True)
class ReferenceTurn:
    """A span of seconds in which one speaker talks. Turns of different speakers may overlap."""

    start_s: float
    end_s: float
    speaker: str


@dataclass(frozen=True, slots=True)
class Reference:
    """What is known to be true of one input; a part that nobody stated is None."""

    transcript: str | None = None
    turns: tuple[ReferenceTurn, ...] | None = None
    language: str | None = None
    """ISO 639-1, as the manifest states it."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of the manifest."""

    transcript: str
    rttm: str
    language: str
    where: str


def find_references(folder: Path, uris: Iterable[str]) -> dict[str, Reference]:
    """Ground truth by URI; an input about which nothing is known has no entry.

    Raises `GroundTruthError` where a file is malformed, names another recording or cannot be read.
    """
    root = folder.resolve()
    if not root.is_dir():
        raise GroundTruthError(
            f"references: {folder} is no folder; name one that holds .txt and .rttm files or a "
            f"{MANIFEST_NAME}, or leave `references` out"
        )
    manifest = _read_manifest(root)
    sidecars = _list_sidecars(root)
    found: dict[str, Reference] = {}
    for uri in uris:
        reference = _find(uri, root, manifest, sidecars)
        if reference != Reference():
            found[uri] = reference
    return found


def read_rttm(path: Path, recording: str) -> tuple[ReferenceTurn, ...]:
    """Turns of one recording, in order of start. Lines of other types than SPEAKER are skipped.

    Turns without length are left out. A file that speaks only of other recordings is an error,
    because an empty answer would read as "nobody speaks".
    """
    turns: list[ReferenceTurn] = []
    others: set[str] = set()
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        fields = line.split()
        if not fields or line.startswith(";;") or fields[0] != "SPEAKER":
            continue
        if len(fields) < _RTTM_FIELDS:
            raise GroundTruthError(
                f"{path}:{number}: a SPEAKER line has {len(fields)} fields, wanted at least "
                f"{_RTTM_FIELDS} (type, recording, channel, start, duration, -, -, speaker)"
            )
        start_s = _seconds(fields[3], "start", path, number)
        duration_s = _seconds(fields[4], "duration", path, number)
        if fields[1] != recording:
            others.add(fields[1])
        elif duration_s > 0:
            turns.append(ReferenceTurn(start_s, start_s + duration_s, fields[7]))
    if others and not turns:
        raise GroundTruthError(
            f"{path}: no turn of {recording!r}, but turns of {', '.join(sorted(others)[:3])}; the "
            "second field must be the name of the audio file without its extension"
        )
    return tuple(sorted(turns))


def _find(uri: str, root: Path, manifest: dict[str, _Row], sidecars: set[str]) -> Reference:
    reference = Reference()
    places = list(_places(uri, root))
    for suffix in (_TRANSCRIPT_SUFFIX, _TURNS_SUFFIX):
        names = (str(place.with_suffix(suffix)) for place in places if place.suffix != suffix)
        name = next((name for name in names if name in sidecars), None)
        if name is None:
            continue
        if suffix == _TRANSCRIPT_SUFFIX:
            reference = replace(reference, transcript=_read_text(root / name).strip() or None)
        else:
            turns = read_rttm(root / name, PurePosixPath(name).stem)
            reference = replace(reference, turns=turns)
    row = next((manifest[str(place)] for place in places if str(place) in manifest), None)
    if row is None:
        return reference
    if row.rttm:
        path = (root / row.rttm).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            raise GroundTruthError(
                f"{row.where}: there is no file {row.rttm!r} in this folder; mend the cell `rttm` "
                "or empty it"
            )
        reference = replace(reference, turns=read_rttm(path, places[0].stem))
    return replace(
        reference,
        transcript=row.transcript or reference.transcript,
        language=row.language or reference.language,
    )


def _places(uri: str, root: Path) -> Iterator[PurePosixPath]:
    """Where in the folder something about this input may lie, best first."""
    scheme = uri.partition("://")[0] if "://" in uri else ""
    if scheme in ("", "file"):
        path = Path(unquote(urlsplit(uri).path) if scheme else uri)
        for absolute in (Path(os.path.abspath(path)), path.resolve()):
            if absolute.is_relative_to(root):
                yield PurePosixPath(absolute.relative_to(root).as_posix())
                return
        names = [name for name in absolute.parts if name != absolute.anchor]
    else:
        names = [name for name in unquote(urlsplit(uri).path).split("/") if name]
    for start in range(len(names)):
        yield PurePosixPath(*names[start:])


def _read_manifest(root: Path) -> dict[str, _Row]:
    path = root / MANIFEST_NAME
    if not path.is_file():
        return {}
    rows: dict[str, _Row] = {}
    reader = csv.DictReader(io.StringIO(_read_text(path)), strict=True)
    try:
        if "path" not in (reader.fieldnames or []):
            raise GroundTruthError(
                f"{path}:1: the columns are {reader.fieldnames}, wanted one named 'path'"
            )
        for cells in reader:
            where = f"{path}:{reader.line_num}"
            if None in cells:
                raise GroundTruthError(f"{where}: more cells than the header has columns")
            cell = (cells["path"] or "").strip()
            if not cell:
                raise GroundTruthError(f"{where}: the cell `path` is empty; name a file or drop it")
            name = str(PurePosixPath(cell))
            if name in rows:
                raise GroundTruthError(f"{where}: a second row for {name!r}; keep one of the two")
            transcript, rttm, language = (
                (cells.get(column) or "").strip() for column in ("transcript", "rttm", "language")
            )
            rows[name] = _Row(transcript, rttm, language.lower(), where)
    except csv.Error as error:
        raise GroundTruthError(
            f"{path}:{reader.line_num}: not readable as CSV ({error}); mend the quotes"
        ) from error
    return rows


def _list_sidecars(root: Path) -> set[str]:
    wanted = (_TRANSCRIPT_SUFFIX, _TURNS_SUFFIX)
    return {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix in wanted and path.is_file()
    }


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise GroundTruthError(
            f"{path}: byte {error.start} is no UTF-8; save the file as UTF-8"
        ) from error
    except OSError as error:
        raise GroundTruthError(f"{path}: cannot be read ({error.strerror})") from error


def _seconds(field: str, what: str, path: Path, number: int) -> float:
    try:
        seconds = float(field)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise GroundTruthError(
            f"{path}:{number}: the {what} is {field!r}, wanted seconds of 0 or more"
        )
    return seconds
