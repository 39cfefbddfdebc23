"""Small stages that tests drive the loop and the engine with: no model, no audio needed."""

import os
import signal
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from schemas.errors import ItemError
from schemas.spans import SegmentSpan, Span
from schemas.verdict import Drop, Keep, Verdict
from stages.audio import Audio
from stages.base import (
    DatasetStage,
    Duplicate,
    Recording,
    RecordingStage,
    Resources,
    Segment,
    SegmentStage,
    StageSpec,
)

RATE_HZ = 1000


class ToyDecode(RecordingStage):
    """A text file of one word is a recording; the word says what becomes of it."""

    class Spec(StageSpec):
        seconds: float = 10.0

    spec: Spec
    name, engine = "decode", "toy"
    reads: ClassVar = frozenset({"path"})
    writes: ClassVar = frozenset({"audio", "decoded_s", "sample_rate_hz"})
    speed_x_real_time = 1000.0

    def describe(self) -> str:
        return "toy 1"

    def process(self, recording: Recording) -> Verdict:
        word = recording.values["path"].read_text().split()[0]
        if word == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "hang":
            time.sleep(1000)
        if word == "bad":
            raise ItemError("NOT_AUDIO", f"{recording.uri} is bad; throw it away")
        if word == "bug":
            raise ZeroDivisionError("oops")
        if word == "silent":
            return Drop("no_speech", measured=0.0, limit=0.1)
        samples = np.full(int(self.spec.seconds * RATE_HZ), 0.1, np.float32)
        return Keep(
            {
                "audio": Audio(samples, RATE_HZ),
                "decoded_s": self.spec.seconds,
                "sample_rate_hz": RATE_HZ,
            }
        )


class ToyCut(RecordingStage):
    """Segments of two seconds, the last of them dropped."""

    Spec = StageSpec
    name, engine = "segment", "toy"
    reads: ClassVar = frozenset({"audio"})
    writes: ClassVar = frozenset({"spans", "speech", "num_segments"})
    speed_x_real_time = 1000.0

    def describe(self) -> str:
        return "toy 1"

    def process(self, recording: Recording) -> Verdict:
        starts = range(0, recording.audio.num_samples, 2 * RATE_HZ)
        spans = [SegmentSpan(start, start + 2 * RATE_HZ, "A") for start in starts]
        last = spans[-1]
        spans[-1] = SegmentSpan(
            last.start_sample, last.end_sample, "A", drop=Drop("too_short", 2.0, 3.0)
        )
        speech = [Span(0, recording.audio.num_samples)]
        return Keep({"spans": spans, "speech": speech, "num_segments": len(spans)})


class ToyScore(SegmentStage):
    """Scores a segment by its place; the one at 4 s cannot be scored."""

    Spec = StageSpec
    name, engine = "quality", "toy"
    reads: ClassVar = frozenset({"audio"})
    writes: ClassVar = frozenset({"snr_db"})
    speed_x_real_time = 1000.0
    fail_at_s: ClassVar[float] = 4.0
    batches: ClassVar[list[int]] = []

    def describe(self) -> str:
        return "toy 1"

    def process(self, batch: Sequence[Segment]) -> list[Verdict]:
        self.batches.append(len(batch))
        if any(s.start_sample == self.fail_at_s * RATE_HZ for s in batch):
            raise ValueError("cannot be scored")
        return [Keep({"snr_db": segment.start_sample / RATE_HZ}) for segment in batch]


class ToyFingerprint(RecordingStage):
    """A sketch of the third word of the file: equal words are repeats of each other."""

    Spec = StageSpec
    name, engine = "fingerprint", "toy"
    reads: ClassVar = frozenset({"path"})
    writes: ClassVar = frozenset({"sketch"})
    speed_x_real_time = 1000.0

    def describe(self) -> str:
        return "toy 1"

    def process(self, recording: Recording) -> Verdict:
        words = recording.values["path"].read_text().split()
        return Keep({"sketch": [zlib.crc32(words[2].encode())] if len(words) > 2 else []})


class ToyDuplicates(DatasetStage):
    """Recordings with equal sketches; the first by name is kept."""

    Spec = StageSpec
    name, engine = "duplicates", "toy"
    reads: ClassVar = frozenset({"sketch"})
    writes: ClassVar = frozenset()
    speed_x_real_time = 1000.0

    def describe(self) -> str:
        return "toy 1"

    def link(self, recordings: Sequence[Mapping[str, Any]]) -> list[Duplicate]:
        first: dict[int, str] = {}
        found = []
        for row in sorted(recordings, key=lambda row: str(row["uri"])):
            for value in row["sketch"]:
                kept = first.setdefault(value, row["source_id"])
                if kept != row["source_id"]:
                    found.append(Duplicate(row["source_id"], kept, 0.9))
        return found


class ToyGpuScore(ToyScore):
    """The same score, claimed to need a GPU."""

    def resources(self) -> Resources:
        return Resources(num_cpus=1, num_gpus=1, memory_mb=100)
