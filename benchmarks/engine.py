"""How much of a run's wall time is work? Wall time over summed stage compute divided by cores.

Input: 20 minutes of speech made from the demo corpus: its recordings that hold speech, over and
over, each copy at its own level and with its own faint noise (seeded), so that no two are equal.
Run: the demo job without the duplicate stages, from scratch, in a process of its own, as a user
starts it. A value of 1 would be: every core computes in a stage all the time. The rest is start-up
(Ray, imports, models), commits, the uneven end and the report.

    python -m benchmarks.engine --json [--minutes 20] [--workers N]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import yaml

from benchmarks.machine import ROOT, machine
from pipeline.manifest import Manifest
from pipeline.status import status_of

SPEECH = ("conversation.mp3", "panel.opus", "narration-music.flac", "telephone.wav", "mandarin.m4a")
RATE_HZ = 24_000


def make_inputs(folder: Path, minutes: float) -> float:
    """Writes WAV files of speech into `folder`; returns their seconds."""
    rng = np.random.default_rng(0)
    voices = [_decode(ROOT / "jobs/demo/corpus" / name) for name in SPEECH]
    total_s, number = 0.0, 0
    while total_s < minutes * 60:
        voice = voices[number % len(voices)]
        gain = 10 ** (rng.uniform(-6, 0) / 20)
        noisy = voice * gain + rng.normal(0, 1e-3, len(voice))
        _write_wav(folder / f"{number:03d}.wav", noisy)
        total_s += len(voice) / RATE_HZ
        number += 1
    return total_s


def measure(minutes: float, workers: int | None) -> dict[str, Any]:
    """Runs the job once and takes its figures from its own tables."""
    spec = yaml.safe_load((ROOT / "jobs/demo.yaml").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(prefix="audiomill-bench-") as temporary:
        folder = Path(temporary)
        (folder / "in").mkdir()
        audio_s = make_inputs(folder / "in", minutes)
        for stage in ("fingerprint", "duplicates"):
            del spec["stages"][stage]
        spec |= {"name": "bench", "references": None, "output": str(folder / "out")}
        spec["inputs"] = {"uri": str(folder / "in")}
        if workers:
            spec.setdefault("run", {})["workers"] = workers
        (folder / "job.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "jobs.cli", "run", str(folder / "job.yaml")],
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        wall_s = time.perf_counter() - started
        return _figures(folder / "out", audio_s, wall_s)


def _figures(out: Path, audio_s: float, wall_s: float) -> dict[str, Any]:
    run = Manifest(out).table("runs").to_pylist()[0]
    compute_s = sum(stage["compute_s"] for stage in run["stages"])
    cores = min(len(psutil.Process().cpu_affinity()), run["workers"])
    return {
        "wall_over_compute": wall_s / (compute_s / cores),
        "run_wall_over_compute": run["wall_s"] / (compute_s / cores),
        "audio_s": audio_s,
        "wall_s": wall_s,
        "run_wall_s": run["wall_s"],
        "compute_s": compute_s,
        "cores": cores,
        "hours_per_hour": audio_s / wall_s,
        "compute_s_by_stage": {s["stage"]: round(s["compute_s"], 2) for s in run["stages"]},
        "segments": status_of(out).segments,
    }


def _decode(path: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("flt", "mono", RATE_HZ)
        frames = [
            out.to_ndarray()[0]
            for frame in container.decode(audio=0)
            for out in resampler.resample(frame)
        ]
    return np.concatenate(frames).astype(np.float64)


def _write_wav(path: Path, samples: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(pcm.tobytes())


def main(argv: list[str] | None = None) -> int:
    """Prints the figures; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    parser.add_argument("--minutes", type=float, default=20.0, help="minutes of audio")
    parser.add_argument("--workers", type=int, default=None, help="at most so many workers")
    args = parser.parse_args(argv)
    figures = measure(args.minutes, args.workers)
    if not args.json:
        for name, value in figures.items():
            print(f"{name:<24}{value}")
    print(json.dumps({**figures, "machine": machine()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
