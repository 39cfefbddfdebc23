"""Makes the demo corpus anew: `python -m jobs.demo.make_corpus [--out FOLDER]`.

Eleven recordings with what is true of them beside them; `README.md` says what each is for. The
same versions of the synthesisers and of PyAV give the same bytes.
"""

import argparse
import shutil
import sys
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jobs.demo import script
from jobs.demo.encode import Encoding, write_audio
from jobs.demo.references import write_references
from jobs.demo.sounds import music_bed, pink_noise, to_loudness
from jobs.demo.timeline import lay_out
from jobs.demo.voices import (
    TELEPHONE_RATE_HZ,
    WORK_RATE_HZ,
    Audio,
    require_tools,
    speak,
    telephone_line,
)
from schemas.errors import AudiomillError

CORPUS = Path(__file__).resolve().parent / "corpus"
HELD_FRACTION = 0.45
"""How much of the torn MP3 is left."""

_ROOM_RMS = 7e-4  # 41 dB under the talkers: a quiet room
_LINE_RMS = 2e-3  # 32 dB under the talkers: an ordinary telephone line
_BED_RMS = 0.008  # 20 dB under the narrator
_LEFT_SHARE = {"slt": 0.6, "rms": 0.4}  # two people on either side of one microphone pair

MP3 = Encoding(
    container="mp3",
    codec="libmp3lame",
    sample_rate_hz=44_100,
    sample_format="fltp",
    bit_rate_bps=80_000,
)
OPUS = Encoding(
    container="ogg",
    codec="libopus",
    sample_rate_hz=48_000,
    sample_format="flt",
    bit_rate_bps=40_000,
    options={"application": "audio"},
)
FLAC_24 = Encoding(
    container="flac",
    codec="flac",
    sample_rate_hz=48_000,
    sample_format="s32",  # FFmpeg's name for 24 bits in FLAC
    options={"compression_level": "12"},
)
MU_LAW = Encoding(
    container="wav", codec="pcm_mulaw", sample_rate_hz=TELEPHONE_RATE_HZ, sample_format="s16"
)
AAC = Encoding(
    container="ipod",
    codec="aac",
    sample_rate_hz=44_100,
    sample_format="fltp",
    bit_rate_bps=56_000,
)
SMALL_OPUS = Encoding(
    container="ogg",
    codec="libopus",
    sample_rate_hz=16_000,
    sample_format="flt",
    bit_rate_bps=24_000,
    options={"application": "voip"},
)
TORN_MP3 = Encoding(
    container="mp3",
    codec="libmp3lame",
    sample_rate_hz=22_050,
    sample_format="fltp",
    bit_rate_bps=40_000,
)


@dataclass(frozen=True, slots=True)
class Made:
    """A file of the corpus: its name and what it weighs."""

    name: str
    num_bytes: int


def make_corpus(folder: Path) -> list[Made]:
    """Writes every recording and its references; returns the recordings in order of name.

    Raises `voices.ToolError` before anything is written where a synthesiser is missing.
    """
    require_tools()
    folder.mkdir(parents=True, exist_ok=True)
    _conversation(folder)
    _panel(folder)
    _narration(folder)
    _call(folder)
    _mandarin(folder)
    _torn(folder)
    _no_speech(folder)
    audio = (path for path in folder.iterdir() if path.suffix not in {".txt", ".rttm", ".stm"})
    return [Made(path.name, path.stat().st_size) for path in sorted(audio)]


def _conversation(folder: Path) -> None:
    """Two people, and the same recording again: as a copy and as another encoder would have it."""
    timeline = lay_out(script.CONVERSATION, speak)
    stereo = np.zeros((2, len(timeline.mono())))
    for voice, track in timeline.tracks.items():
        stereo += np.outer((_LEFT_SHARE[voice], 1.0 - _LEFT_SHARE[voice]), track)
    stereo += _ROOM_RMS * np.stack([pink_noise(stereo.shape[1], seed) for seed in (1, 2)])
    stereo = to_loudness(stereo, WORK_RATE_HZ, -20.0)
    path = folder / "conversation.mp3"
    write_audio(path, stereo, WORK_RATE_HZ, MP3)
    shutil.copyfile(path, folder / "conversation-copy.mp3")
    quieter = to_loudness(stereo.mean(axis=0), WORK_RATE_HZ, -26.0)
    write_audio(folder / "conversation-reencoded.ogg", quieter, WORK_RATE_HZ, SMALL_OPUS)
    for recording in ("conversation", "conversation-copy", "conversation-reencoded"):
        write_references(folder, recording, timeline, "en,room")


def _panel(folder: Path) -> None:
    timeline = lay_out(script.PANEL, speak)
    mono = timeline.mono()
    mono += _ROOM_RMS * pink_noise(len(mono), seed=3)
    write_audio(folder / "panel.opus", to_loudness(mono, WORK_RATE_HZ, -23.0), WORK_RATE_HZ, OPUS)
    write_references(folder, "panel", timeline, "en,room")


def _narration(folder: Path) -> None:
    timeline = lay_out(script.NARRATION, speak, tail_s=1.6)
    mono = timeline.mono()
    mono += _BED_RMS * music_bed(len(mono), seed=4)
    levelled = to_loudness(mono, WORK_RATE_HZ, -18.0)
    write_audio(folder / "narration-music.flac", levelled, WORK_RATE_HZ, FLAC_24)
    write_references(folder, "narration-music", timeline, "en,music")


def _call(folder: Path) -> None:
    timeline = lay_out(script.CALL, speak)
    mono = timeline.mono()
    mono += _LINE_RMS * pink_noise(len(mono), seed=5)
    heard = to_loudness(telephone_line(mono), TELEPHONE_RATE_HZ, -30.0)
    write_audio(folder / "telephone.wav", heard, TELEPHONE_RATE_HZ, MU_LAW)
    write_references(folder, "telephone", timeline, "en,telephone")


def _mandarin(folder: Path) -> None:
    timeline = lay_out(script.MANDARIN, speak)
    mono = timeline.mono()
    mono += _ROOM_RMS * pink_noise(len(mono), seed=6)
    levelled = to_loudness(mono, WORK_RATE_HZ, -20.0)
    write_audio(folder / "mandarin.m4a", levelled, WORK_RATE_HZ, AAC)
    write_references(folder, "mandarin", timeline, "zh,room")


def _torn(folder: Path) -> None:
    """An MP3 whose header counts all of its frames, as a broken download leaves it."""
    mono = lay_out(script.TORN, speak).mono()
    mono += _ROOM_RMS * pink_noise(len(mono), seed=7)
    path = folder / "truncated.mp3"
    write_audio(path, to_loudness(mono, WORK_RATE_HZ, -20.0), WORK_RATE_HZ, TORN_MP3)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * HELD_FRACTION)])


def _no_speech(folder: Path) -> None:
    noise = 10 ** (-26 / 20) * pink_noise(5 * 16_000, seed=8)
    _write_pcm(folder / "noise.wav", noise, 16_000)
    _write_pcm(folder / "silence.wav", np.zeros(10 * 8_000), 8_000)
    (folder / "not-audio.wav").write_text(
        "This is a text file. Somebody gave it the name of a recording.\n", encoding="utf-8"
    )


def _write_pcm(path: Path, audio: Audio, rate_hz: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.round(audio * 32767).astype("<i2").tobytes())


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one line where a synthesiser is missing or fails."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.demo.make_corpus",
        description="Make the demo corpus anew; needs Debian's flite, espeak-ng and sox.",
    )
    parser.add_argument("--out", type=Path, default=CORPUS, help="folder (default: %(default)s)")
    folder: Path = parser.parse_args(argv).out
    try:
        made = make_corpus(folder)
    except AudiomillError as error:
        print(f"make_corpus: {error}", file=sys.stderr)
        return 2
    for one in made:
        print(f"{one.num_bytes:>9,}  {one.name}")
    print(f"{sum(one.num_bytes for one in made):>9,}  bytes of audio in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
