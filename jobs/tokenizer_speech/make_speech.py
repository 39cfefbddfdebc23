"""Makes the training speech: `python -m jobs.tokenizer_speech.make_speech OUT --hours 5 --seed 0`.

An utterance depends on the seed, its voice and its number alone, so a stopped run goes on where it
was and a longer one keeps what is there. The same versions of the synthesisers give the same bytes.
"""

import argparse
import csv
import json
import os
import sys
import wave
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from rich.progress import track

from jobs.tokenizer_speech.recordings import copy_recordings
from jobs.tokenizer_speech.rows import LeftOut, Row
from jobs.tokenizer_speech.texts import sentence
from jobs.tokenizer_speech.voices import (
    Style,
    SynthesisError,
    Voice,
    all_voices,
    is_installed,
    speed_factor,
    synthesise,
)
from schemas.errors import AudiomillError, SpecError

SHORTEST_S, LONGEST_S = 1.5, 6.0
_USUAL_S = 2.5
_NUM_PROCESSES = 2
_ATTEMPTS = 4
_QUIETEST_PEAK = 0.02
_FULL_SCALE = 32_700
_MOST_CLIPPED = 1e-3  # of the samples: some festival voices touch full scale now and then


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One file to be made."""

    voice: Voice
    number: int
    seconds: float
    """Wanted length; the made one is near it."""

    @property
    def path(self) -> str:
        return f"{self.voice.name}/{self.number:05d}.wav"


def plan(voices: Sequence[Voice], hours: float, seed: int) -> list[Utterance]:
    """What each voice says in its share of the hours, voices taking turns.

    Lengths are triangular from 1.6 to 5.4 s, most often 2.5: 3.2 s on average.
    """
    utterances = []
    total = sum(voice.share for voice in voices)
    for voice in voices:
        left_s = hours * 3600 * voice.share / total
        number = 0
        while left_s > 0:
            drawn = _generator(seed, voice, number, 0).triangular(1.6, _USUAL_S, 5.4)
            utterances.append(Utterance(voice=voice, number=number, seconds=float(drawn)))
            left_s -= drawn
            number += 1
    return sorted(utterances, key=lambda utterance: (utterance.number, utterance.path))


def make_utterance(utterance: Utterance, seed: int, folder: Path) -> Row | LeftOut:
    """The file and its text, made unless they are there: kept, dropped or failed with a cause."""
    path = folder / utterance.path
    text_path = path.with_suffix(".txt")
    if not (path.is_file() and text_path.is_file()):
        try:
            reason = _make(utterance, seed, path, text_path)
        except SynthesisError as error:
            return LeftOut(path=utterance.path, outcome="failed", reason=str(error))
        if reason is not None:
            return LeftOut(path=utterance.path, outcome="dropped", reason=reason)
    with wave.open(str(path)) as file:
        seconds = file.getnframes() / file.getframerate()
    voice = utterance.voice
    return Row(
        path=utterance.path,
        seconds=round(seconds, 3),
        kind="speech",
        voice=voice.name,
        engine=voice.engine,
        language=voice.language,
        licence=voice.licence,
        source=f"Debian: {voice.package}",
        text=text_path.read_text(encoding="utf-8").strip(),
    )


def _make(utterance: Utterance, seed: int, path: Path, text_path: Path) -> str | None:
    """Writes both files, or says why the speech is of no use."""
    random = _generator(seed, utterance.voice, utterance.number, 1)
    style = Style(speed=float(random.random()), pitch=float(random.random()))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    wanted_s = utterance.seconds * speed_factor(utterance.voice, style)
    reason = None
    for _ in range(_ATTEMPTS):
        text = sentence(utterance.voice.language, wanted_s, random)
        part.unlink(missing_ok=True)
        synthesise(utterance.voice, text, style, part)
        seconds, reason = _judge(part)
        if reason is None:
            os.replace(part, path)
            text_part = text_path.with_suffix(".txt.part")
            text_part.write_text(text + "\n", encoding="utf-8")
            os.replace(text_part, text_path)
            return None
        if not SHORTEST_S <= seconds <= LONGEST_S:
            wanted_s *= float(np.clip(utterance.seconds / max(seconds, 0.1), 0.3, 3.0))
    part.unlink(missing_ok=True)
    return reason


def _judge(path: Path) -> tuple[float, str | None]:
    """Length in seconds, and what is wrong with the file if anything is."""
    try:
        with wave.open(str(path)) as file:
            rate_hz, shape = file.getframerate(), (file.getnchannels(), file.getsampwidth())
            samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(int)
    except (wave.Error, EOFError, ValueError) as error:
        raise SynthesisError(f"the synthesiser wrote no WAV of 16 bits: {error}") from error
    if shape != (1, 2):
        raise SynthesisError(f"found {shape[0]} channels of {shape[1]} bytes, wanted 1 of 2")
    seconds = len(samples) / rate_hz
    if not SHORTEST_S <= seconds <= LONGEST_S:
        return seconds, f"lasts {seconds:.2f} s, wanted {SHORTEST_S} to {LONGEST_S}"
    loudness = np.abs(samples)
    if loudness.max() < _QUIETEST_PEAK * 32768:
        return seconds, f"peaks at {loudness.max() / 32768:.3f}, wanted {_QUIETEST_PEAK} or more"
    clipped = float((loudness >= _FULL_SCALE).mean())
    if clipped > _MOST_CLIPPED:
        return seconds, f"{clipped:.2%} of the samples are at full scale"
    return seconds, None


def _generator(seed: int, voice: Voice, number: int, use: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(voice.name.encode()), number, use])


def make_speech(
    folder: Path,
    voices: Sequence[Voice],
    hours: float,
    seed: int,
    recordings: Path | None = None,
) -> tuple[list[Row], list[LeftOut]]:
    """Makes everything and writes `data.csv`, `left_out.csv` and `recipe.json`; returns both lists.

    Voices that are not installed are left out. Raises `SpecError` where none is, or where the
    folder was made with another seed.
    """
    present = [voice for voice in voices if is_installed(voice)]
    left_out = [
        LeftOut(
            path=voice.name,
            outcome="not installed",
            reason=f"'apt-get install {voice.package}' brings it",
        )
        for voice in voices
        if voice not in present
    ]
    if not present:
        raise SpecError(
            "no voice is installed; wanted at least one of flite, espeak-ng and festival: on "
            "Debian 'apt-get install flite espeak-ng festival'"
        )
    _check_recipe(folder, seed, hours)
    utterances = plan(present, hours, seed)
    rows = []
    for result in track(
        _made(utterances, seed, folder), description="speaking", total=len(utterances)
    ):
        if isinstance(result, Row):
            rows.append(result)
        else:
            left_out.append(result)
    if recordings is not None:
        copied, refused = copy_recordings(recordings, folder)
        rows += copied
        left_out += refused
    rows.sort(key=lambda row: row.path)
    left_out.sort(key=lambda one: one.path)
    _write_csv(folder / "data.csv", [field.name for field in fields(Row)], rows)
    _write_csv(folder / "left_out.csv", [field.name for field in fields(LeftOut)], left_out)
    return rows, left_out


def _made(utterances: Sequence[Utterance], seed: int, folder: Path) -> Iterator[Row | LeftOut]:
    """The synthesisers are programs of their own, so threads are enough to keep two at work."""
    with ThreadPoolExecutor(_NUM_PROCESSES) as pool:
        yield from pool.map(lambda utterance: make_utterance(utterance, seed, folder), utterances)


def _check_recipe(folder: Path, seed: int, hours: float) -> None:
    path = folder / "recipe.json"
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))["seed"]
        if found != seed:
            raise SpecError(
                f"{folder} was made with seed {found}, wanted {seed}; "
                "take that seed or a new folder"
            )
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"seed": seed, "hours": hours}) + "\n", encoding="utf-8")


def _write_csv(path: Path, columns: list[str], rows: Iterable[Row | LeftOut]) -> None:
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    os.replace(part, path)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one line where what was asked for cannot be done."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.tokenizer_speech.make_speech",
        description="Make the speech on which the small tokenizer is trained.",
    )
    parser.add_argument("out", type=Path, help="folder for the speech and its list, data.csv")
    parser.add_argument("--hours", type=float, default=5.0, help="of synthetic speech (default: 5)")
    parser.add_argument("--seed", type=int, default=0, help="0 or more (default: 0)")
    parser.add_argument("--recordings", type=Path, help="folder with recordings and manifest.csv")
    options = parser.parse_args(argv)
    try:
        if not options.hours > 0 or options.seed < 0:
            raise SpecError(
                f"found {options.hours} hours and seed {options.seed}, wanted hours above 0 and a "
                "seed of 0 or more"
            )
        rows, left_out = make_speech(
            options.out, all_voices(), options.hours, options.seed, options.recordings
        )
    except AudiomillError as error:
        print(f"make_speech: {error}", file=sys.stderr)
        return 2
    for one in left_out:
        print(f"{one.outcome}: {one.path}: {one.reason}", file=sys.stderr)
    for engine in dict.fromkeys(row.engine for row in rows):
        of_engine = [row.seconds for row in rows if row.engine == engine]
        print(f"{sum(of_engine) / 3600:6.2f} h in {len(of_engine):>5} files: {engine}")
    print(f"{sum(row.seconds for row in rows) / 3600:6.2f} h listed in {options.out / 'data.csv'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
