"""Jobs made of toy stages, for tests of the engine, the commit and the resume."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.assemble import Job, NamedStage, Pass
from pipeline.fit import Pool
from pipeline.inputs import Listing
from pipeline.shards import ShardPlan
from pipeline.worker import UnitResult
from schemas.codes import Codes, Waveform
from schemas.job import InputsSpec, JobSpec, RunSpec, TokenizeSpec
from schemas.source import Source
from tests.pipeline.toy_stages import (
    RATE_HZ,
    ToyCut,
    ToyDecode,
    ToyDuplicates,
    ToyFingerprint,
    ToyGpuScore,
    ToyScore,
)


def write_words(folder: Path, words: dict[str, str]) -> Path:
    """Toy inputs: `name` to the word that says what becomes of it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, word in words.items():
        (folder / f"{name}.txt").write_text(f"{word} {name}")
    return folder


def toy_job(inputs: Path, out: Path | str, run: RunSpec | None = None) -> Job:
    """A job over toy inputs: decode, segment, quality."""
    spec = JobSpec(
        name="toy",
        inputs=InputsSpec(uri=str(inputs), include=["**/*.txt"]),
        output=str(out),
        stages={"decode": {}},
        run=run or RunSpec(workers=2),
    )
    stages = (
        NamedStage("decode", ToyDecode(ToyDecode.Spec())),
        NamedStage("segment", ToyCut(ToyCut.Spec())),
        NamedStage("quality", ToyScore(ToyScore.Spec())),
    )
    return Job(spec=spec, stages=stages, passes=(Pass(stages),))


def toy_gpu_job(inputs: Path, out: Path) -> Job:
    """The same with the scoring on a GPU: decode and segment, then another station."""
    job = toy_job(inputs, out)
    stages = (*job.stages[:2], NamedStage("quality", ToyGpuScore(ToyScore.Spec())))
    return Job(spec=job.spec, stages=stages, passes=(Pass(stages),))


def toy_shard_job(inputs: Path, out: Path | str, run: RunSpec | None = None) -> Job:
    """A whole job: two sweeps with duplicates between them, and shards of five segments."""
    job = toy_job(inputs, out, run)
    decode, *others = job.stages
    fingerprint = NamedStage("fingerprint", ToyFingerprint(ToyFingerprint.Spec()))
    duplicates = NamedStage("duplicates", ToyDuplicates(ToyDuplicates.Spec()))
    return Job(
        spec=job.spec.model_copy(update={"tokenize": TokenizeSpec(rows_per_shard=5)}),
        stages=(decode, fingerprint, duplicates, *others),
        passes=(Pass((decode, fingerprint), barrier=duplicates), Pass((decode, *others))),
    )


class ToyTokenizer:
    """A frame of eight equal codes every 40 ms; the code is the loudness."""

    sample_rate_hz = RATE_HZ
    frame_rate_hz = 25
    samples_per_frame = RATE_HZ // 25
    num_codebooks = 8
    codebook_sizes = (1024,) * 8

    def fingerprint(self) -> str:
        return '{"weights":"toy"}'

    def encode_numpy(self, waveforms: Sequence[Waveform], num_codebooks: int) -> list[Codes]:
        return [
            np.full(
                (len(waveform) // self.samples_per_frame, num_codebooks),
                int(abs(waveform).max() * 1000),
                np.uint16,
            )
            for waveform in waveforms
        ]

    def decode_numpy(self, codes: Codes) -> Waveform:
        return np.zeros(len(codes) * self.samples_per_frame, np.float32)


def open_toy_tokenizer(spec: TokenizeSpec) -> ToyTokenizer:
    """What a job is handed to make shards with."""
    return ToyTokenizer()


class Silent:
    """A reporter that only remembers what it was told."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.units: list[UnitResult] = []
        self.stop_after = stop_after

    def listed(self, listing: Listing, pending: list[Source]) -> None: ...
    def workers_up(self, pools: tuple[Pool, ...], seconds: float) -> None: ...
    def sweep_begins(self, title: str, num_inputs: int) -> None: ...
    def duplicates_settled(self, result: UnitResult) -> None: ...
    def tokenizing(self, num_shards: int, num_segments: int) -> None: ...
    def shard_done(self, plan: ShardPlan, num_frames: int) -> None: ...
    def tick(self) -> None: ...
    def say(self, line: str) -> None: ...

    def unit_done(self, result: UnitResult) -> None:
        self.units.append(result)
        if self.stop_after is not None and len(self.units) >= self.stop_after:
            raise KeyboardInterrupt
