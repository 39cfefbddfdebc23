"""Real recordings beside the synthetic ones: those whose licence lets them be learned from freely.

The manifest's licence decides, row by row, and so does where the file lies: what the tokenizer is
evaluated on must not be heard in training.
"""

import csv
import os
import re
from pathlib import Path

import numpy as np

from jobs.tokenizer_command import write_wav
from jobs.tokenizer_speech.rows import LeftOut, Row
from schemas.codes import Waveform
from schemas.errors import ItemError, SpecError
from stages.decode import decode_file

SPEECH_FOLDERS = ("multi-speaker", "other-languages", "long")
BACKGROUND_FOLDERS = ("noise", "music")
REPEATS_EVALUATION = ("multi-speaker/composed-dialogue-4spk.flac", "multi-speaker/leopard-3spk.wav")
"""Made of utterances, or spoken by people, that the tokenizer is evaluated on."""

_FREE = re.compile(r"Apache-2\.0|MIT|CC-BY-4\.0|CC0(-1\.0)?|public domain|BSD(-[23]-Clause)?")
_BOUND = re.compile(r"-NC|-SA|-ND|copyright|GPL|unclear|unknown", re.IGNORECASE)
_LONGEST_PIECE_S = 10.0
_SHORTEST_PIECE_S = 0.5
_SEARCH_S = 4.0  # a cut falls on the quietest place in the last seconds of a piece
_WINDOW_S = 0.05
_SILENT_RMS = 1e-3
_MAX_BYTES = 1 << 30


def why_not(path: str, licence: str) -> str | None:
    """Why a row of the manifest may not be trained on; `None` where it may.

    A licence is a list of clauses: the first is that of the recording, one that begins with
    `repository` is that of the code around it and decides nothing.
    """
    folder = path.split("/", 1)[0]
    if folder not in SPEECH_FOLDERS + BACKGROUND_FOLDERS or ".." in path.split("/"):
        return f"folder {folder!r} is not one of those for training"
    if path in REPEATS_EVALUATION:
        return "repeats speakers or utterances of the evaluation"
    clauses = [clause.strip() for clause in licence.split(";")]
    own = [clause for clause in clauses if not clause.lower().startswith("repository")]
    if any(_BOUND.search(clause) for clause in own):
        return f"licence {licence!r} sets bounds"
    first = own[0].split("(")[0].strip() if own else ""
    if not all(_FREE.fullmatch(name.strip()) for name in first.split(" or ")):
        return f"licence {licence!r} is not on the list of free ones"
    return None


def copy_recordings(source: Path, folder: Path) -> tuple[list[Row], list[LeftOut]]:
    """Copies what `source/manifest.csv` allows, as 16-bit mono WAV at its own rate, in pieces.

    Speech goes to `recordings/`, noise and music to `backgrounds/`. Raises `SpecError` where there
    is no manifest with the columns `path`, `language`, `transcript` and `licence`.
    """
    manifest = source / "manifest.csv"
    wanted = {"path", "language", "transcript", "licence"}
    try:
        with manifest.open(encoding="utf-8", newline="") as file:
            listed = list(csv.DictReader(file))
    except OSError as error:
        raise SpecError(
            f"{manifest} cannot be read ({error}); wanted a table of licences"
        ) from error
    if listed and not wanted <= listed[0].keys():
        missing = ", ".join(sorted(wanted - listed[0].keys()))
        raise SpecError(f"{manifest} has no column {missing}; without it no licence can be decided")
    outcomes: list[Row | LeftOut] = []
    stems: set[str] = set()
    for entry in listed:
        path, stem = entry["path"], Path(entry["path"]).stem
        reason = why_not(path, entry["licence"])
        if reason is None and stem in stems:
            reason = f"another recording is called {stem!r}; rename one"
        if reason is not None:
            outcomes.append(LeftOut(path=path, outcome="dropped", reason=reason))
            continue
        stems.add(stem)
        try:
            outcomes += _copy(entry, source, folder)
        except ItemError as error:
            outcomes.append(LeftOut(path=path, outcome="failed", reason=str(error)))
    rows = [one for one in outcomes if isinstance(one, Row)]
    return rows, [one for one in outcomes if isinstance(one, LeftOut)]


def _copy(entry: dict[str, str], source: Path, folder: Path) -> list[Row | LeftOut]:
    decoded = decode_file(
        source / entry["path"], max_s=3600.0, max_bytes=_MAX_BYTES, max_channels=16
    )
    rate_hz = decoded.sample_rate_hz
    kind, stem = entry["path"].split("/", 1)[0], Path(entry["path"]).stem
    is_speech = kind in SPEECH_FOLDERS
    pieces = quiet_cuts(decoded.samples, rate_hz)
    outcomes: list[Row | LeftOut] = []
    for number, piece in enumerate(pieces):
        seconds = len(piece) / rate_hz
        name = f"{'recordings' if is_speech else 'backgrounds'}/{stem}-{number:02d}.wav"
        if seconds < _SHORTEST_PIECE_S:
            reason = f"lasts {seconds:.2f} s, wanted {_SHORTEST_PIECE_S} or more"
            outcomes.append(LeftOut(path=name, outcome="dropped", reason=reason))
            continue
        if np.sqrt(np.mean(piece**2)) < _SILENT_RMS:
            outcomes.append(LeftOut(path=name, outcome="dropped", reason="silent"))
            continue
        part = folder / (name + ".part")
        write_wav(part, piece, rate_hz)
        os.replace(part, folder / name)
        outcomes.append(
            Row(
                path=name,
                seconds=round(seconds, 3),
                kind="speech" if is_speech else "music" if kind == "music" else "noise",
                voice=stem,
                engine="recording",
                language=entry["language"],
                licence=entry["licence"],
                source=entry["path"],
                text=entry["transcript"] if len(pieces) == 1 else "",
            )
        )
    return outcomes


def quiet_cuts(samples: Waveform, rate_hz: int) -> list[Waveform]:
    """The recording in pieces of at most 10 s, cut where 50 ms are quietest. Nothing is lost."""
    longest, search = int(_LONGEST_PIECE_S * rate_hz), int(_SEARCH_S * rate_hz)
    window = max(1, int(_WINDOW_S * rate_hz))
    pieces, first = [], 0
    while len(samples) - first > longest:
        last = samples[first + longest - search : first + longest]
        blocks = last[: len(last) // window * window].reshape(-1, window)
        quietest = int(np.argmin(np.mean(blocks.astype(np.float64) ** 2, axis=1)))
        cut = first + longest - search + quietest * window + window // 2
        pieces.append(samples[first:cut])
        first = cut
    return [*pieces, samples[first:]]
