"""An output with words that its recordings say, and where anything of them is found."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

import pyarrow.parquet as pq

from pipeline.assemble import Job, NamedStage, Pass
from pipeline.manifest import Manifest
from pipeline.output import INPUTS_PATTERN, read_inputs
from schemas.job import TokenizeSpec
from schemas.source import Source
from schemas.verdict import Keep, Verdict
from stages.base import Segment, SegmentStage, StageSpec
from tests.pipeline.small_output import make_output
from tests.pipeline.toy_jobs import toy_shard_job


class ToyHear(SegmentStage):
    """Hears in every segment what only that recording says."""

    Spec = StageSpec
    name, engine = "asr", "toy"
    reads: ClassVar = frozenset({"audio"})
    writes: ClassVar = frozenset({"text"})
    speed_x_real_time = 1000.0

    def describe(self) -> str:
        return "toy 1"

    def process(self, batch: Sequence[Segment]) -> list[Verdict]:
        return [Keep({"text": words_of(segment.recording.uri)}) for segment in batch]


def words_of(uri: str) -> str:
    """What a recording says."""
    return f"the-words-of-{PurePosixPath(uri).stem}-alone"


def hearing_job(inputs: Path, out: Path) -> Job:
    """The toy job with shards, transcripts, and row groups of two."""
    job = toy_shard_job(inputs, out)
    hear = NamedStage("asr", ToyHear(ToyHear.Spec()))
    first, last = job.passes
    tokenize = TokenizeSpec(rows_per_shard=5, rows_per_group=2)
    return Job(
        spec=job.spec.model_copy(update={"tokenize": tokenize}),
        stages=(*job.stages, hear),
        passes=(first, Pass((*last.stages, hear))),
    )


def make_forgettable(folder: Path) -> Path:
    """Its output, finished: `a`, `b` and `e` are in shards, `f` is like `e`, `copy` is `a`."""
    return make_output(folder, hearing_job, copies={"copy": "a"})


def source_named(out: Path, name: str) -> Source:
    return next(s for s in read_inputs(out) if PurePosixPath(s.uri).stem == name)


@dataclass(frozen=True)
class Personal:
    """Strings that only the rows of some inputs have."""

    strings: frozenset[str]

    @classmethod
    def of(cls, out: Path, *names: str) -> "Personal":
        sources = [source_named(out, name) for name in names]
        ids = {source.source_id for source in sources}
        found = {source.uri for source in sources} | {words_of(source.uri) for source in sources}
        for table, columns in (
            ("recordings", ("recording_id",)),
            ("segments", ("recording_id", "segment_id")),
        ):
            for row in Manifest(out).table(table).to_pylist():
                if row["source_id"] in ids:
                    found |= {row[column] for column in columns}
        return cls(frozenset(found))

    def found_in(self, folder: Path, *, but: Collection[str] = (INPUTS_PATTERN,)) -> dict[str, str]:
        """Files under a folder that hold one of the strings, with one of those."""
        found = {}
        for path in (path for path in folder.rglob("*") if path.is_file()):
            if not any(path.match(pattern) for pattern in but):
                content = _content(path)
                held = sorted(string for string in self.strings if string in content)
                if held:
                    found[path.relative_to(folder).as_posix()] = held[0]
        return found


def _content(path: Path) -> str:
    """Bytes of a file as text, and its rows if it has any: pages are compressed."""
    content = path.read_bytes().decode("latin-1")
    if path.suffix == ".parquet":
        content += str(pq.ParquetFile(path).read().to_pylist())
    return content
