"""What do isolation and commits cost, against the same run without them?

The demo corpus' recordings go through the demo job's chain in this process, in turns: as a run does
it (decoded in a child process; each attempt written down before it starts; rows of every recording
written and committed) and without (decoded here; one commit of all rows at the end; no ledger). The
ratio of the walls within a round, and the median over the rounds, less 1.
"""

import io
import statistics
import time
from pathlib import Path

from benchmarks.faults.family import Asked, Report
from benchmarks.machine import ROOT
from pipeline.assemble import Job, assemble
from pipeline.attempts import Ledger
from pipeline.inputs import list_inputs
from pipeline.manifest import Manifest
from pipeline.spec_file import read_yaml
from pipeline.worker import Unit, UnitState, Worker
from schemas.codes import Waveform
from schemas.job import JobSpec
from schemas.source import Source
from stages.decode import PyavDecode
from stages.decoding.contents import Contents, Limits
from stages.decoding.decoder import IsolatedDecoder
from stages.decoding.reading import read_audio
from stages.decoding.samples import SampleStore, SampleWriter

LONG_ROUNDS, SHORT_ROUNDS = 5, 1
CHAINS: dict[str, tuple[str, ...]] = {
    "all_stages": (),
    "light": ("decode", "normalize", "vad"),
}
"""The demo job's stages; and those that cost little, where overhead weighs most."""
MOST_SHARE = 0.1


class _DecoderHere(IsolatedDecoder):
    """The same code without a process of its own."""

    def read(
        self, file: io.FileIO, name: str, limits: Limits, *, wall_s: float
    ) -> tuple[Contents, Waveform]:
        with SampleStore(limits.max_bytes) as store:
            file.seek(0)
            contents = read_audio(file, name, limits, SampleWriter(store.fd))
            return contents, store.finished(contents.num_samples)


def run(asked: Asked) -> Report:
    """Rounds of each chain; the first of each is not counted, because it loads the models."""
    report = Report(wanted=LONG_ROUNDS if asked.is_long else SHORT_ROUNDS)
    figures: dict[str, float] = {}
    walls: dict[str, list[float]] = {}
    for chain in CHAINS if asked.is_long else ("light",):
        ratios, seconds = _measured(asked, chain, report.wanted)
        figures[chain] = round(statistics.median(ratios) - 1, 4) if ratios else float("nan")
        walls[chain] = seconds
        report.runs = len(ratios)
        asked.say(f"{chain}: {figures[chain]:+.1%} of wall")
        if figures[chain] > MOST_SHARE and asked.is_long and chain == "all_stages":
            report.failures.append(f"{chain}: {figures[chain]:.1%} of wall; {asked.again()}")
    report.figures = {
        "overhead": figures.get("all_stages"),
        "overhead_light": figures["light"],
        "wall_s_with_and_without": walls,
        "compared": " ".join((__doc__ or "").split()),
    }
    return report


def _measured(asked: Asked, chain: str, rounds: int) -> tuple[list[float], list[float]]:
    """Ratio of the walls of each round, and the medians of both."""
    out = asked.folder / chain
    job, bare_job = _job(out, chain), _job(out, chain)
    _stage(bare_job).decoder = _DecoderHere()
    sources = list_inputs(job.spec.inputs).sources
    manifest = Manifest.create(out)
    worker, bare_worker = Worker(job, out, None), Worker(bare_job, out, None)
    ledger = Ledger(out, "overhead", "")
    ledger.open()
    pairs = []
    for number in range(rounds + 1):
        if asked.is_over:
            break
        started = time.perf_counter()
        for source in sources:
            unit = Unit(f"{source.source_id}-{number}", (source,), manifest.epoch())
            ledger.starts({unit.unit_id: False})
            result = worker.run_unit(unit, _labels(job), True)
            manifest.commit(unit.unit_id, result.files, unit.epoch)
            ledger.ended(unit.unit_id)
        middle = time.perf_counter()
        _without(bare_worker, manifest, bare_job, sources, number)
        pairs.append((middle - started, time.perf_counter() - middle))
    ledger.close()
    for each in (job, bare_job):
        _stage(each).close()
    counted = pairs[1:]
    medians = [round(statistics.median(walls), 3) for walls in zip(*counted, strict=True)]
    return [with_all / without for with_all, without in counted], medians


def _without(
    worker: Worker, manifest: Manifest, job: Job, sources: tuple[Source, ...], number: int
) -> None:
    items = []
    for source in sources:
        unit = Unit(source.source_id, (source,), 0)
        items += worker.begin(unit, _labels(job)).items
    whole = UnitState(Unit(f"all-{number}", sources, manifest.epoch()), items)
    result = worker.finish(whole, True)
    manifest.commit(result.unit_id, result.files, result.epoch)


def _job(out: Path, chain: str) -> Job:
    raw = read_yaml(ROOT / "jobs/demo.yaml")
    names = [name for name in raw["stages"] if name not in ("fingerprint", "duplicates")]
    wanted = CHAINS[chain]
    raw["stages"] = {name: raw["stages"][name] for name in names if not wanted or name in wanted}
    raw |= {"references": None, "tokenize": None, "output": str(out), "name": "overhead"}
    raw["inputs"] = {"uri": str(ROOT / "jobs/demo/corpus")}
    return assemble(JobSpec(**raw))


def _labels(job: Job) -> tuple[str, ...]:
    return tuple(named.label for named in job.stages)


def _stage(job: Job) -> PyavDecode:
    stage = job.stages[0].stage
    if not isinstance(stage, PyavDecode):
        raise TypeError(f"the demo job decodes with {stage.engine}")
    return stage
