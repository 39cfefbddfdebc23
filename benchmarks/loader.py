"""How fast are shards loaded, against MDS, LitData and WebDataset on the same rows?

Seeded codes (uniform, the bundled codebook sizes) of segments of 3-30 s with a text, committed as
a job commits them, then exported to each peer's format (`audiomill export`). One process a loader,
taking turns; each packs every row into `[8, 8192]` sequences and reads every segment id
(`loader_worker.py`). Ours is timed with everything from an empty cache on: log, lengths, plan,
shuffle in windows of 4 row groups, page checksums; a peer without its opening, and it verifies
nothing. Ratios are of median wall seconds, `*_cpu` and `audio_hours_per_second_per_core` of CPU
seconds. Ours reads without threads, as it does by default in a local folder.
`bytes_per_frame` is all of a shard: ids and text too.

The peers want packages that cannot stand in audiomill's environment: they get one of their own
under `build/` (downloaded once). Without a network, `--without-peers` measures the rest.

    python -m benchmarks.loader --json [--short] [--repeats 3] [--hours 120] [--without-peers]
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.loader_peers import python_with_peers
from benchmarks.loader_worker import PEERS, RESUME_STEPS
from benchmarks.machine import ROOT, options, report
from benchmarks.made_output import commit_shards, made_rows
from model.loader.export import export_shards

FRAMES_PER_HOUR = 25 * 3600
SHORT_HOURS = 0.3
Passes = dict[str, list[dict[str, float]]]


def frames_of(hours: float) -> Iterator[int]:
    """Frames of segments of 3-30 s until there are so many hours."""
    random = np.random.default_rng(20)
    left = round(hours * FRAMES_PER_HOUR)
    while left > 0:
        frames = int(random.integers(75, 751))
        left -= frames
        yield frames


def measure(hours: float, rounds: int, peers_python: Path | None) -> dict[str, Any]:
    """Figures of ours, and of the peers if there is a Python that has them."""
    lengths = list(frames_of(hours))
    made_hours = sum(lengths) / FRAMES_PER_HOUR
    with tempfile.TemporaryDirectory(prefix="audiomill-loader-") as scratch:
        folder = Path(scratch) / "ours"
        shards = commit_shards(folder, made_rows(lengths))
        folders = {"ours": folder}
        for name in PEERS if peers_python else ():
            folders[name] = Path(scratch) / name
            export_shards(str(folder), folders[name], format=name)
        passes: Passes = defaultdict(list)
        for _ in range(rounds):
            for name, of_loader in folders.items():
                python = Path(sys.executable) if name == "ours" else peers_python
                said = _run(python, name, str(of_loader), "--passes", "2")
                passes[name] += json.loads(said.splitlines()[-1])
        _require_all_rows(passes, len(lengths))
        sizes = {name: _size(of_loader) for name, of_loader in folders.items()}
        shard_bytes = sum(path.stat().st_size for path in shards)
    return {
        "hours": round(made_hours, 2),
        "segments": len(lengths),
        "bytes_per_frame": round(shard_bytes / sum(lengths), 3),
    } | _figures(passes, made_hours, sizes, sum(lengths))


def _figures(
    passes: Passes, hours: float, sizes: dict[str, int], num_frames: int
) -> dict[str, Any]:
    cpu_s, wall_s = (
        {name: _median(of_loader, key) for name, of_loader in passes.items()}
        for key in ("cpu_s", "wall_s")
    )
    ours = passes["ours"]
    figures: dict[str, Any] = {
        "audio_hours_per_second_per_core": round(hours / cpu_s["ours"], 1),
        "fill": round(_median(ours, "fill"), 4),
        "memory_mb": round(_median(ours, "memory_mb")),
    }
    figures |= {
        key: round(_median(ours, key), 4) for key in (f"resume_s_at_{s}" for s in RESUME_STEPS)
    }
    for name in PEERS:
        for key, seconds in (("", wall_s), ("_cpu", cpu_s)):
            over = round(seconds[name] / seconds["ours"], 2) if name in seconds else None
            figures[f"ours_over_{name}{key}"] = over
    for name, of_loader in passes.items():
        figures[name] = {
            "hours_per_cpu_second": round(hours / cpu_s[name], 1),
            "hours_per_second": round(hours / wall_s[name], 1),
            "sequences_per_second": round(_median(of_loader, "sequences") / wall_s[name], 1),
            "spread": round(max(p["wall_s"] for p in of_loader) / wall_s[name], 2),
            "bytes_per_frame": round(sizes[name] / num_frames, 2),
            "memory_mb": round(_median(of_loader, "memory_mb")),
        }
    return figures


def _require_all_rows(passes: Passes, wanted: int) -> None:
    """A loader that leaves rows out would be fast."""
    for name, of_loader in passes.items():
        for one in of_loader:
            if one["rows"] != wanted:
                raise RuntimeError(f"{name} gave {one['rows']} rows of {wanted}")


def _median(passes: list[dict[str, float]], key: str) -> float:
    return statistics.median(one[key] for one in passes)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _run(python: Path | None, *arguments: str) -> str:
    done = subprocess.run(
        [str(python), "-m", "benchmarks.loader_worker", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def main(argv: Sequence[str] | None = None) -> int:
    parser = options(__doc__)
    parser.add_argument("--hours", type=float, default=120.0, help="of codes")
    parser.add_argument("--without-peers", action="store_true", help="measure only ours")
    arguments = parser.parse_args(argv)
    hours, rounds = (SHORT_HOURS, 1) if arguments.short else (arguments.hours, arguments.repeats)
    peers_python = None if arguments.without_peers else python_with_peers()
    report("loader", measure(hours, rounds, peers_python), arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
