"""What does it cost that files are decoded in a process of their own?

Inputs: 200 files of 2 to 4 s of the demo corpus' speech in five formats (seeded cuts), and the
recordings of the demo corpus as they are. Each is decoded by the stage, in its child process, and
by the same code in this process; the two take turns, file by file, and the median of the rounds
counts. Wall time is what a run sees, CPU time what a busy machine can still measure. The start of a
child is told beside them, because it comes once in a thousand files.

    python -m benchmarks.isolation --json [--rounds 5]
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np

from benchmarks.machine import ROOT, machine
from stages.base import Recording
from stages.decode import PyavDecode, decode_file
from stages.decoding.decoded import Decoded

CORPUS = ROOT / "jobs/demo/corpus"
RECORDINGS = (
    *("conversation.mp3", "conversation-reencoded.ogg", "mandarin.m4a", "narration-music.flac"),
    *("noise.wav", "panel.opus", "silence.wav", "telephone.wav", "truncated.mp3"),
)
SPEECH = ("conversation.mp3", "panel.opus", "narration-music.flac", "mandarin.m4a")
FORMATS = (
    ("wav", "pcm_s16le", 24_000),
    ("flac", "flac", 24_000),
    ("mp3", "libmp3lame", 24_000),
    ("opus", "libopus", 48_000),
    ("m4a", "aac", 24_000),
)
SHORT_FILES = 200


def make_short_files(folder: Path) -> list[Path]:
    """Writes cuts of speech, each in the next format."""
    rng = np.random.default_rng(0)
    voices = [_decoded_here(CORPUS / name) for name in SPEECH]
    paths = []
    for number in range(SHORT_FILES):
        voice = voices[number % len(voices)]
        length = round(rng.uniform(2, 4) * voice.sample_rate_hz)
        start = int(rng.integers(0, max(1, len(voice.samples) - length)))
        ending, codec, rate_hz = FORMATS[number % len(FORMATS)]
        path = folder / f"{number:03d}.{ending}"
        _encode(path, voice.samples[start : start + length], voice.sample_rate_hz, codec, rate_hz)
        paths.append(path)
    return paths


def _encode(path: Path, samples: Any, from_hz: int, codec: str, rate_hz: int) -> None:
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "flt", "mono")
    frame.sample_rate = from_hz
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate_hz, layout="mono")
        size = stream.codec_context.frame_size or 4096
        resampler = av.AudioResampler(stream.codec_context.format, "mono", rate_hz, size)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))


def _decoded_here(path: Path) -> Decoded:
    return decode_file(path, max_s=14_400, max_bytes=4 << 30, max_channels=16)


def _decoded_by(stage: PyavDecode, path: Path) -> float:
    verdict = stage.process(Recording("", "", str(path), {"path": path}))
    return float(verdict.values["decoded_s"])  # type: ignore[arg-type]


def compare(stage: PyavDecode, paths: Sequence[Path], rounds: int) -> dict[str, float]:
    """Seconds of wall and of CPU for all paths, each way, and what isolation adds."""
    decoder = stage.decoder
    assert decoder is not None

    def seconds_of(decode: Callable[[], object]) -> tuple[float, float]:
        wall_s, cpu_s = time.perf_counter(), time.process_time() + decoder.cpu_s()
        decode()
        return (
            time.perf_counter() - wall_s,
            time.process_time() + decoder.cpu_s() - cpu_s,
        )

    sums = []  # per round: wall and CPU in this process, then both isolated
    for _ in range(rounds):
        times = [
            seconds_of(partial(_decoded_here, path)) + seconds_of(partial(_decoded_by, stage, path))
            for path in paths
        ]
        sums.append(np.sum(times, axis=0))
    here_s, here_cpu_s, isolated_s, isolated_cpu_s = np.median(sums, axis=0).tolist()
    audio_s = sum(_decoded_here(path).decoded_s for path in paths)
    return {
        "files": len(paths),
        "audio_s": audio_s,
        "here_s": here_s,
        "isolated_s": isolated_s,
        "overhead": isolated_s / here_s - 1,
        "cpu_overhead": isolated_cpu_s / here_cpu_s - 1,
        "added_ms_per_file": (isolated_s - here_s) / len(paths) * 1000,
        "added_seconds_per_audio_second": (isolated_s - here_s) / audio_s,
    }


def measure(rounds: int) -> dict[str, Any]:
    """All figures."""
    stage = PyavDecode(PyavDecode.Spec())
    started = time.perf_counter()
    _decoded_by(stage, CORPUS / "silence.wav")
    start_s = time.perf_counter() - started
    with tempfile.TemporaryDirectory(prefix="audiomill-bench-") as folder:
        short = compare(stage, make_short_files(Path(folder)), rounds)
    corpus = compare(stage, [CORPUS / name for name in RECORDINGS], rounds)
    stage.close()
    return {
        "decode_overhead": corpus["overhead"],
        "decode_overhead_short_files": short["overhead"],
        "decode_cpu_overhead": corpus["cpu_overhead"],
        "decode_cpu_overhead_short_files": short["cpu_overhead"],
        "first_file_s": start_s,
        "corpus": corpus,
        "short_files": short,
    }


def main(argv: list[str] | None = None) -> int:
    """Prints the figures; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the median counts")
    args = parser.parse_args(argv)
    figures = measure(args.rounds)
    if not args.json:
        for name, value in figures.items():
            print(f"{name:<30}{value}")
    print(json.dumps({**figures, "machine": machine()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
