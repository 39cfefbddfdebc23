"""What do isolation and commits cost, against the same run without them?

The demo corpus' recordings go through the demo job's chain in this process, each both ways: as a
run does it (called as Ray calls an actor, with its watchdog and heartbeat; decoded in a child
process; the attempt written down before it starts; its rows written and committed) and without
(called directly; decoded here; no ledger; one commit of all rows at the end). The ratio of the
walls of a round, and the median over the rounds, less 1.
"""

import faulthandler
import io
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.faults.family import Asked, Report
from benchmarks.machine import ROOT
from pipeline.assemble import Job, assemble
from pipeline.attempts import Ledger
from pipeline.crew import Actor
from pipeline.inputs import list_inputs
from pipeline.item_state import ItemState
from pipeline.manifest import Manifest
from pipeline.spec_file import read_yaml
from pipeline.worker import Unit, UnitState, Worker
from schemas.codes import Waveform
from schemas.job import JobSpec
from stages.decode import PyavDecode
from stages.decoding.contents import Contents, Limits
from stages.decoding.decoder import IsolatedDecoder
from stages.decoding.reading import read_audio
from stages.decoding.samples import SampleStore, SampleWriter

CHAINS: dict[str, tuple[str, ...]] = {
    "all_stages": (),
    "light": ("decode", "normalize", "vad"),
}
"""The demo job's stages; and those that cost little, where overhead weighs most."""
LONG_ROUNDS = {"all_stages": 3, "light": 30}
"""A round of the light chain is a second, so it takes more of them to tell."""
SHORT_ROUNDS = {"light": 1}
MOST_SHARE = 0.1
DRIVER = "overhead"


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
    rounds = LONG_ROUNDS if asked.is_long else SHORT_ROUNDS
    report = Report(wanted=sum(rounds.values()))
    figures: dict[str, float | None] = {}
    walls: dict[str, list[float]] = {}
    for chain, num_rounds in rounds.items():
        ratios, seconds = _measured(asked, chain, num_rounds)
        overhead = round(statistics.median(ratios) - 1, 4) if ratios else None
        figures[chain] = overhead
        walls[chain] = seconds
        report.runs += len(ratios)
        if overhead is None:
            continue
        asked.say(f"{chain}: {overhead:+.1%} of wall")
        if overhead > MOST_SHARE and asked.is_long and chain == "all_stages":
            report.failures.append(f"{chain}: {overhead:.1%} of wall; {asked.again()}")
    report.figures = {
        "overhead": figures.get("all_stages"),
        "overhead_light": figures["light"],
        "wall_s_with_and_without": walls,
        "compared": " ".join((__doc__ or "").split()),
    }
    return report


def _measured(asked: Asked, chain: str, rounds: int) -> tuple[list[float], list[float]]:
    """Ratio of the walls of each round, and the medians of both."""
    sides = _Sides(asked.folder / chain, chain)
    pairs = [sides.round(number) for number in range(rounds + 1) if not asked.is_over]
    sides.close()
    counted = pairs[1:]
    medians = [round(statistics.median(walls), 3) for walls in zip(*counted, strict=True)]
    return [with_all / without for with_all, without in counted], medians


class _Sides:
    """A worker of each kind, on one output."""

    def __init__(self, out: Path, chain: str) -> None:
        self.job, self.bare_job = _job(out, chain), _job(out, chain)
        _stage(self.bare_job).decoder = _DecoderHere()
        self.labels = tuple(named.label for named in self.job.stages)
        self.sources = list_inputs(self.job.spec.inputs).sources
        self.manifest = Manifest.create(out)
        self.actor = Actor(DRIVER, "0", self.job, out, None)
        self.bare = Worker(self.bare_job, out, None)
        self.ledger = Ledger(out, DRIVER, "")
        self.ledger.open()

    def round(self, number: int) -> tuple[float, float]:
        """Seconds of wall for all recordings, with everything and without."""
        with_s, without_s = 0.0, 0.0
        items: list[ItemState] = []
        for index, source in enumerate(self.sources):
            unit = Unit(f"{source.source_id}-{number}", (source,), self.manifest.epoch())
            # Side by side and in turns, so that a busy neighbour slows both.
            if (number + index) % 2:
                without_s += _seconds(partial(self._without, unit, items))
                with_s += _seconds(partial(self._with, unit))
            else:
                with_s += _seconds(partial(self._with, unit))
                without_s += _seconds(partial(self._without, unit, items))
        whole = Unit(f"all-{number}", self.sources, self.manifest.epoch())
        return with_s, without_s + _seconds(partial(self._commit_all, whole, items))

    def close(self) -> None:
        self.ledger.close()
        faulthandler.enable(file=2)  # the actor's watchdog had it write to the heartbeat
        for job in (self.job, self.bare_job):
            _stage(job).close()

    def _with(self, unit: Unit) -> None:
        self.ledger.starts({unit.unit_id: False})
        receipt, _ = self.actor.call(unit.unit_id, 1, "run_unit", True, unit, self.labels, True)
        self.manifest.commit(unit.unit_id, receipt.result.files, unit.epoch)
        self.ledger.ended(unit.unit_id)

    def _without(self, unit: Unit, items: list[ItemState]) -> None:
        items += self.bare.begin(unit, self.labels).items

    def _commit_all(self, whole: Unit, items: list[ItemState]) -> None:
        result = self.bare.finish(UnitState(whole, items), True)
        self.manifest.commit(result.unit_id, result.files, result.epoch)


def _seconds(call: Callable[[], None]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _job(out: Path, chain: str) -> Job:
    raw = read_yaml(ROOT / "jobs/demo.yaml")
    names = [name for name in raw["stages"] if name not in ("fingerprint", "duplicates")]
    wanted = CHAINS[chain]
    raw["stages"] = {name: raw["stages"][name] for name in names if not wanted or name in wanted}
    raw |= {"references": None, "tokenize": None, "output": str(out), "name": "overhead"}
    raw["inputs"] = {"uri": str(ROOT / "jobs/demo/corpus")}
    return assemble(JobSpec(**raw))


def _stage(job: Job) -> PyavDecode:
    stage = job.stages[0].stage
    if not isinstance(stage, PyavDecode):
        raise TypeError(f"the demo job decodes with {stage.engine}")
    return stage
