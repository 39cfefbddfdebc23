"""The job that is disturbed: toy inputs of every fate, and work that takes time and is counted.

Two sweeps, a barrier between them and shards, without audio and without models, see
`benchmarks.toy_job`. Every input that the decoder takes on is written to a log, so that what was
done twice can be told.
"""

import os
import time
from pathlib import Path

from pipeline.assemble import Job, NamedStage, Pass
from pipeline.remote_inputs import is_local
from schemas.job import RunSpec
from schemas.verdict import Verdict
from stages.base import Recording
from tests.pipeline.toy_jobs import toy_shard_job
from tests.pipeline.toy_stages import ToyDecode

MAX_ATTEMPTS = 10
"""Of `run`: so many that no chance of ours makes an input guilty."""


class CountedDecode(ToyDecode):
    """The toy decoder, slower."""

    class Spec(ToyDecode.Spec):
        work_s: float = 0.0
        log: str = ""
        """File to which the input's id is appended before the work."""

    spec: Spec

    def process(self, recording: Recording) -> Verdict:
        descriptor = os.open(self.spec.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, f"{recording.source_id}\n".encode())
        finally:
            os.close(descriptor)
        time.sleep(self.spec.work_s)
        return super().process(recording)


def counted_job(inputs: Path, out: Path | str, *, workers: int, work_s: float) -> Job:
    """The job over `inputs`; what is done for it is counted by `times_decoded`."""
    run = RunSpec(workers=workers, max_attempts=MAX_ATTEMPTS, inputs_per_unit=1)
    job = toy_shard_job(inputs, out, run)
    spec = CountedDecode.Spec(work_s=work_s, log=str(_log(inputs, out)))
    decode = NamedStage("decode", CountedDecode(spec))

    def counted(stages: tuple[NamedStage, ...]) -> tuple[NamedStage, ...]:
        return tuple(decode if named.label == "decode" else named for named in stages)

    passes = tuple(Pass(counted(each.stages), each.barrier) for each in job.passes)
    return Job(spec=job.spec, stages=counted(job.stages), passes=passes)


def times_decoded(inputs: Path, out: Path | str) -> int:
    """How often any input was decoded for that output, by whatever run."""
    log = _log(inputs, out)
    return len(log.read_text().splitlines()) if log.exists() else 0


def _log(inputs: Path, out: Path | str) -> Path:
    """Beside the output, or beside the inputs if it is on an object store."""
    place, _, name = str(out).rpartition("/")
    return (Path(place) if is_local(str(out)) else inputs.parent) / f"{name}.decoded"
