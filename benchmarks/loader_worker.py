"""One loader, one process, one pass over the codes, packed into `[8, 8192]` sequences.

    python -m benchmarks.loader_worker ours|mds|litdata|webdataset FOLDER [--passes 3]

Prints JSON. A peer gets a plain packing loop over its own shuffled iteration and nothing is
verified; its opening is not timed. Ours starts from an empty cache: reading the log, the lengths
and the plan, shuffling and page checksums are in the time.
"""

# Shapes: C codebooks, T positions.

import argparse
import importlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.machine import memory_bytes

CODEBOOKS, CONTEXT, SEQUENCES_PER_STEP, WINDOW_GROUPS = 8, 8192, 8, 4
RESUME_STEPS = (10, 1_000, 100_000)

Codes = npt.NDArray[np.uint16]


def pack_plainly(rows: Iterable[tuple[str, Codes]]) -> Iterator[tuple[Codes, list[str]]]:
    """Sequences and their ids: the next one begins where a row does not fit."""
    codes_CT, at = np.zeros((CODEBOOKS, CONTEXT), np.uint16), 0
    ids: list[str] = []
    for segment_id, codes_CF in rows:
        frames = codes_CF.shape[1]
        if at + frames > CONTEXT:
            yield codes_CT, ids
            codes_CT, ids, at = np.zeros((CODEBOOKS, CONTEXT), np.uint16), [], 0
        codes_CT[:, at : at + frames] = codes_CF
        ids.append(segment_id)
        at += frames
    yield codes_CT, ids


def mds(folder: Path) -> Iterable[tuple[str, Codes]]:
    from streaming import StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    clean_stale_shared_memory()
    dataset = StreamingDataset(local=str(folder), shuffle=True, batch_size=1)
    return ((row["segment_id"], row["codes"]) for row in dataset)


def litdata(folder: Path) -> Iterable[tuple[str, Codes]]:
    from litdata import StreamingDataset

    dataset = StreamingDataset(str(folder), shuffle=True)
    return ((row["segment_id"], row["codes"]) for row in dataset)


def webdataset(folder: Path) -> Iterable[tuple[str, Codes]]:
    import webdataset as wds

    files = sorted(str(path) for path in folder.glob("*.tar"))
    dataset = wds.WebDataset(files, shardshuffle=len(files)).shuffle(1000).decode()
    return ((row["__key__"], row["codes.npy"]) for row in dataset)


PEERS: dict[str, Callable[[Path], Iterable[tuple[str, Codes]]]] = {
    "mds": mds,
    "litdata": litdata,
    "webdataset": webdataset,
}


def pass_of_peer(name: str, folder: Path) -> dict[str, float]:
    rows = PEERS[name](folder)
    clock = Clock()
    ids: list[str] = []
    sequences = 0
    for _, of_sequence in pack_plainly(rows):
        ids += of_sequence
        sequences += 1
    return clock.read() | {"rows": len(set(ids)), "sequences": sequences}


def pass_of_ours(folder: Path, cache: Path) -> dict[str, float]:
    from model.loader import CodesSample, Loader, LoaderSource, LoaderSpec, stack_codes

    shutil.rmtree(cache, ignore_errors=True)
    sample = CodesSample(num_codebooks=CODEBOOKS, columns=())
    spec = LoaderSpec(
        sources=(LoaderSource(uri=str(folder), sample=sample),),
        context_length=CONTEXT,
        sequences_per_step=SEQUENCES_PER_STEP,
        window_groups=WINDOW_GROUPS,
    )
    clock = Clock()
    loader = Loader(spec, cache)
    ids: list[str] = []
    used = 0
    for number in range(loader.num_sequences):
        sequence = loader.sequence(number)
        stack_codes([sequence], CODEBOOKS, CONTEXT)
        ids += [document.segment_id for document in sequence.documents]
        used += sequence.num_positions
    found = clock.read() | {"rows": len(set(ids)), "sequences": loader.num_sequences}
    found["fill"] = used / (loader.num_sequences * CONTEXT)
    loader.close()
    for step in RESUME_STEPS:
        clock = Clock()
        loader = Loader(spec, cache)
        loader.batch(step)
        found[f"resume_s_at_{step}"] = clock.read()["wall_s"]
        loader.close()
    return found


class Clock:
    """Wall and CPU seconds (all threads of the process) since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        return {
            "wall_s": time.perf_counter() - self._wall,
            "cpu_s": time.process_time() - self._cpu,
        }


def measure(name: str, folder: Path, passes: int) -> list[dict[str, float]]:
    """Passes after one that is not counted, which reads the files into memory."""
    found = []
    import_packages(name)
    before = memory_bytes("VmRSS")
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch)
        for number in range(passes + 1):
            one = pass_of_ours(folder, cache) if name == "ours" else pass_of_peer(name, folder)
            one["memory_mb"] = (memory_bytes("VmHWM") - before) / 2**20
            found += [one] if number else []
    return found


def import_packages(name: str) -> None:
    """What a pass imports, so that neither its time nor its memory is the pass's."""
    module = {"ours": "model.loader", "mds": "streaming"}.get(name, name)
    importlib.import_module(module)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=["ours", *PEERS])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--passes", type=int, default=3)
    args = parser.parse_args(argv)
    with redirect_stdout(sys.stderr):  # packages greet
        found: list[dict[str, Any]] = measure(args.name, args.folder, args.passes)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
