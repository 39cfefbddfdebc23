"""Speech from the synthesisers, and the telephone line: the only callers of outside programs."""

import shutil
import subprocess
import tempfile
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.signal import resample_poly

from jobs.demo.script import MANDARIN_VOICE, Line
from schemas.errors import AudiomillError

Audio = npt.NDArray[np.float64]

WORK_RATE_HZ = 48_000
"""Rate of all audio until it is encoded: a multiple of flite's 16 kHz and of the telephone's 8."""

TELEPHONE_RATE_HZ = 8_000
TOOLS = ("flite", "espeak-ng", "sox")
_MANDARIN_WORDS_PER_MINUTE = 150
_SKIRT_HZ = "150"  # how fast the telephone band ends; sox would take 1,200 Hz for it


class ToolError(AudiomillError, RuntimeError):
    """A program that makes the corpus is not installed, or failed."""


def require_tools() -> None:
    """Raises `ToolError` unless every program is installed."""
    missing = [name for name in TOOLS if shutil.which(name) is None]
    if missing:
        raise ToolError(
            f"{', '.join(missing)} not found on PATH; remaking the demo corpus needs "
            f"{', '.join(TOOLS)}: on Debian 'apt-get install {' '.join(TOOLS)}'. The corpus itself "
            "is committed, so running the demo does not need them"
        )


def speak(line: Line) -> Audio:
    """The line as its voice says it, mono at `WORK_RATE_HZ`, with the synthesiser's own silence."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "line.wav"
        if line.voice == MANDARIN_VOICE:
            speed = str(_MANDARIN_WORDS_PER_MINUTE)
            _run(["espeak-ng", "-v", line.voice, "-s", speed, "-w", str(path), line.text])
        else:
            _run(["flite", "-voice", line.voice, "-t", line.text, "-o", str(path)])
        with wave.open(str(path)) as file:
            rate_hz = file.getframerate()
            samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    divisor = int(np.gcd(WORK_RATE_HZ, rate_hz))
    resampled: Audio = resample_poly(samples / 32768.0, WORK_RATE_HZ // divisor, rate_hz // divisor)
    return resampled


def telephone_line(audio: Audio) -> Audio:
    """Mono audio at `WORK_RATE_HZ` as the other end hears it: 300 to 3400 Hz, at 8 kHz.

    The band is that of ITU-T G.712; sox keeps the timing, its filters being of linear phase.
    """
    raw = ["-t", "raw", "-e", "floating-point", "-b", "64", "-c", "1"]
    command = ["sox", "-V1", *raw, "-r", str(WORK_RATE_HZ), "-", *raw, "-"]
    effects = ["sinc", "-t", _SKIRT_HZ, "300-3400", "rate", "-v", str(TELEPHONE_RATE_HZ)]
    heard = _run([*command, *effects], audio.astype("<f8").tobytes())
    return np.frombuffer(heard, dtype="<f8").astype(np.float64)


def _run(command: Sequence[str], stdin: bytes = b"") -> bytes:
    done = subprocess.run(command, input=stdin, capture_output=True, check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip() or "nothing"
        raise ToolError(
            f"{command[0]} ended with code {done.returncode} and said: {said}; "
            "run 'make corpus' again with the versions that the demo's README names"
        )
    return done.stdout
