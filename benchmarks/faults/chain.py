"""Bad input through the real chain in a process of its own, beside good files, and watched.

    python -m benchmarks.faults.chain FOLDER JSON

makes kinds of `benchmarks.malformed` (those that JSON names) and some recordings of the demo corpus
beside them, runs the demo job's stages over the good ones alone, then over all of
them, and prints one JSON object. Meanwhile a listener waits on the loopback for whoever connects,
and the folder of lures is watched for whoever opens what they are after.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.faults.compare import difference
from benchmarks.faults.family import Asked
from benchmarks.machine import ROOT
from benchmarks.malformed.check import check_rows
from benchmarks.malformed.kind import Kind
from benchmarks.malformed.kinds import KINDS, make_corpus
from benchmarks.malformed.lures import CANARIES
from jobs.tokenizers import open_tokenizer
from pipeline.assemble import Job, assemble
from pipeline.inputs import Listing
from pipeline.manifest import Manifest
from pipeline.ray_cluster import start_ray
from pipeline.run import run_job
from pipeline.spec_file import read_yaml
from schemas.ids import digest
from schemas.job import AUDIO_PATTERNS, JobSpec
from schemas.source import Source
from tests.pipeline.toy_jobs import Silent
from tests.stages.test_decode_lures import opened_files

GOOD = ("conversation.mp3", "mandarin.m4a", "panel.opus", "telephone.wav")
LURE_FAMILIES = ("lures", "filesystem")
LURE_STAGES = ("decode", "normalize")
"""What files lead astray where they are opened: no later stage sees one."""
MAX_HOURS = 0.1  # so that a bomb of a day costs the work of six minutes
ITEM_TIMEOUT_S = 300.0
COMPARED = ("recordings", "segments", "turns", "failures")


def run_chain(asked: Asked, kinds: Iterable[Kind], stages: Sequence[str]) -> dict[str, Any]:
    """What came of it; `error` says why nothing did, among it that it hung.

    `stages`: of the demo job; all of them where empty. What was asked before is told again.
    """
    wanted = json.dumps({"kinds": [kind.name for kind in kinds], "stages": list(stages)})
    folder = asked.shared.folder / f"chain-{digest(wanted)}"
    known, log = folder / "found.json", folder / "chain.log"
    if known.exists():
        return dict(json.loads(known.read_text()))
    folder.mkdir(exist_ok=True)
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.faults.chain", str(folder), wanted],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        try:
            said, _ = process.communicate(timeout=max(1.0, asked.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return {"error": "it was not done in the time there was"}
    if process.returncode:
        return {"error": f"the job ended with {process.returncode}: {log.read_text()[-2000:]}"}
    known.write_text(said.splitlines()[-1])
    return dict(json.loads(known.read_text()))


@dataclass
class _Meddler(Silent):
    """Does to the files what happens to them between listing and reading, and while they are read.

    A reporter, because it hears when the listing is done.
    """

    folder: Path = Path()
    kinds: Sequence[Kind] = ()
    stack: ExitStack = field(default_factory=ExitStack)
    stop_after: int | None = None
    units: list[Any] = field(default_factory=list)

    def listed(self, listing: Listing, pending: list[Source]) -> None:
        for kind in self.kinds:
            path = self.folder / kind.relative_path
            if kind.after_listing:
                kind.after_listing(path)
            if kind.while_read:
                self.stack.enter_context(kind.while_read(path))


def _job(inputs: Path, out: Path, stages: Sequence[str]) -> Job:
    raw = read_yaml(ROOT / "jobs/demo.yaml")
    # Many of the kinds hold the same voice: as duplicates they would tell nothing.
    names = [name for name in raw["stages"] if name not in ("fingerprint", "duplicates")]
    raw["stages"] = {name: raw["stages"][name] for name in names if not stages or name in stages}
    raw["stages"]["decode"] = {"engine": "pyav", "max_hours": MAX_HOURS}
    raw |= {"references": None, "output": str(out), "name": "malformed"}
    raw["inputs"] = {"uri": str(inputs), "include": [*AUDIO_PATTERNS, "**/*.m3u8"]}
    raw["run"] = {"item_timeout_s": ITEM_TIMEOUT_S}
    if stages:
        raw["tokenize"] = None
    return assemble(JobSpec(**raw))


def _through(folder: Path, names: Sequence[str], stages: Sequence[str]) -> dict[str, Any]:
    kinds = [kind for kind in KINDS if kind.name in names]
    files = [kind for kind in kinds if kind.uri is None]
    start_ray(num_cpus=2, num_gpus=0)
    with listener() as heard:
        corpus = folder / "corpus"
        make_corpus(corpus, kinds, port=heard.port)
        good = corpus / "good"
        good.mkdir()
        for name in GOOD:
            shutil.copy(ROOT / "jobs/demo/corpus" / name, good)
        run_job(_job(good, folder / "alone", stages), Silent(), open_tokenizer=open_tokenizer)
        started = time.monotonic()
        (corpus / "lures").mkdir(exist_ok=True)
        with ExitStack() as stack:
            opened = stack.enter_context(opened_files(corpus / "lures"))
            meddler = _Meddler(folder=corpus, kinds=files, stack=stack)
            job = _job(corpus, folder / "out", stages)
            run_job(job, meddler, open_tokenizer=open_tokenizer)
            found = _all(opened)
        seconds = time.monotonic() - started
        connections = heard.connections()
    alone, out = _rows(folder / "alone", None), _rows(folder / "out", None)
    sources = {row["source_id"] for row in alone["recordings"]}
    runs = Manifest(folder / "out").table("runs").to_pylist()
    return {
        "error": None,
        "kinds": len(files),
        "unexpected": check_rows(out["recordings"], out["failures"], files),
        "difference": difference(alone, _rows(folder / "out", sources)).to_json(),
        "connections": connections,
        "canaries_opened": sorted(found & set(CANARIES)),
        "workers_replaced": sum(run["workers_replaced"] for run in runs),
        "lures": sum(kind.family == "lures" for kind in files),
        "seconds": round(seconds, 1),
    }


def _rows(out: Path, sources: set[str] | None) -> dict[str, list[dict[str, Any]]]:
    """Rows of an output, of those sources or of all."""
    manifest = Manifest(out)
    return {
        name: [
            row
            for row in manifest.table(name).to_pylist()
            if sources is None or row["source_id"] in sources
        ]
        for name in COMPARED
    }


def _all(names: Any) -> set[str]:
    found: set[str] = set()
    while more := names():
        found |= set(more)
    return found


@dataclass(frozen=True, slots=True)
class Listener:
    """Where nobody should connect to."""

    server: socket.socket
    port: int

    def connections(self) -> int:
        """How many there were since it was last asked."""
        count = 0
        with suppress(BlockingIOError):
            while True:
                self.server.accept()[0].close()
                count += 1
        return count


@contextmanager
def listener() -> Iterator[Listener]:
    """On a free port of the loopback, for the block."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield Listener(server, server.getsockname()[1])


if __name__ == "__main__":
    asked = json.loads(sys.argv[2])
    print(json.dumps(_through(Path(sys.argv[1]), asked["kinds"], asked["stages"])))
