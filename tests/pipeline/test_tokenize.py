"""Codes on real Ray, when audio goes away, comes back as another, or takes a worker down."""

import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.assemble import Job, NamedStage, Pass
from pipeline.manifest import Manifest
from pipeline.run import run_job
from pipeline.shards import ShardPlan
from pipeline.status import status_of
from pipeline.verify import verify
from schemas.codes import Codes, Waveform
from schemas.errors import JobStoppedError, TokenizerError
from schemas.job import RunSpec, TokenizeSpec
from schemas.verdict import Keep, Verdict
from stages.audio import Audio
from stages.base import Recording
from tests.pipeline.toy_jobs import Silent, ToyTokenizer, toy_job, write_words
from tests.pipeline.toy_stages import RATE_HZ, ToyDecode

pytestmark = pytest.mark.usefixtures("ray_of_two_cpus")
LOUD = {"good": 0.1, "refused": 0.5, "deadly": 0.9}
SEGMENTS_KEPT = 3
"""Of a recording."""


class LoudDecode(ToyDecode):
    """The word says how loud the recording is, so that a tokenizer can tell one."""

    def process(self, recording: Recording) -> Verdict:
        verdict = super().process(recording)
        word = recording.values["path"].read_text().split()[0]
        samples = np.full(int(self.spec.seconds * RATE_HZ), LOUD[word], np.float32)
        return Keep({**verdict.values, "audio": Audio(samples, RATE_HZ)})


class TouchyTokenizer(ToyTokenizer):
    """Refuses some audio, and dies of other."""

    def encode_numpy(self, waveforms: Sequence[Waveform], num_codebooks: int) -> list[Codes]:
        loudest = max(abs(waveform).max() for waveform in waveforms)
        if loudest > 0.8:
            os.kill(os.getpid(), signal.SIGKILL)
        if loudest > 0.4:
            raise TokenizerError("too loud")
        return super().encode_numpy(waveforms, num_codebooks)


def open_touchy_tokenizer(spec: TokenizeSpec) -> TouchyTokenizer:
    return TouchyTokenizer()


class Meanwhile(Silent):
    """Does something when everything is measured and nothing is coded."""

    def __init__(self, what: Callable[[], object]) -> None:
        super().__init__()
        self.what = what

    def tokenizing(self, num_shards: int, num_segments: int) -> None:
        self.what()


class Counting(Silent):
    def __init__(self) -> None:
        super().__init__()
        self.shards: list[ShardPlan] = []

    def shard_done(self, plan: ShardPlan, num_frames: int) -> None:
        self.shards.append(plan)


def loud_job(inputs: Path, out: Path, run: RunSpec | None = None) -> Job:
    job = toy_job(inputs, out, run)
    stages = (NamedStage("decode", LoudDecode(LoudDecode.Spec())), *job.stages[1:])
    spec = job.spec.model_copy(update={"tokenize": TokenizeSpec(rows_per_shard=5)})
    return Job(spec=spec, stages=stages, passes=(Pass(stages),))


def uncoded(out: Path) -> Counter[tuple[str, str]]:
    """Name of the input and class of the segments without codes, all of which were kept."""
    manifest = Manifest(out)
    kept = {
        row["segment_id"]
        for row in manifest.table("segments").to_pylist()
        if row["verdict"] == "kept"
    }
    coded = set(manifest.table("tokens")["segment_id"].to_pylist())
    failures = [r for r in manifest.table("failures").to_pylist() if r["stage"] == "tokenize"]
    failed = {row["segment_id"] for row in failures}
    assert failed | coded == kept
    assert not failed & coded
    return Counter((Path(row["uri"]).stem, row["error_class"]) for row in failures)


def check(out: Path, num_uncoded: int) -> None:
    status = status_of(out)
    assert status.complete
    assert status.uncoded == num_uncoded
    found = verify(out)
    assert found.problems == ()
    assert found.accounts is not None
    assert found.accounts["uncoded"] == num_uncoded
    assert found.accounts["kept"] == found.accounts["tokens"] + num_uncoded


def test_an_input_that_goes_away_before_it_is_coded_costs_its_own_codes(tmp_path: Path) -> None:
    inputs = write_words(tmp_path / "in", dict.fromkeys("abcde", "good"))

    def harm() -> None:
        (inputs / "b.txt").unlink()
        (inputs / "d.txt").write_text("good and another")

    run_job(
        loud_job(inputs, tmp_path / "out"), Meanwhile(harm), open_tokenizer=open_touchy_tokenizer
    )
    found = uncoded(tmp_path / "out")
    assert found == {("b", "UNREADABLE"): SEGMENTS_KEPT, ("d", "CHANGED"): SEGMENTS_KEPT}
    check(tmp_path / "out", 2 * SEGMENTS_KEPT)


def test_where_no_audio_is_left_there_is_no_shard(tmp_path: Path) -> None:
    inputs = write_words(tmp_path / "in", {"a": "good"})
    run_job(
        loud_job(inputs, tmp_path / "out"),
        Meanwhile((inputs / "a.txt").unlink),
        open_tokenizer=open_touchy_tokenizer,
    )
    assert uncoded(tmp_path / "out") == {("a", "UNREADABLE"): SEGMENTS_KEPT}
    assert Manifest(tmp_path / "out").table("shards").num_rows == 0
    check(tmp_path / "out", SEGMENTS_KEPT)


def test_where_all_inputs_go_away_at_once_none_is_blamed(tmp_path: Path) -> None:
    inputs = write_words(tmp_path / "in", dict.fromkeys("abcdef", "good"))
    run = RunSpec(workers=2, breaker_inputs=4)
    job = loud_job(inputs, tmp_path / "out", run)
    with pytest.raises(JobStoppedError, match="UNREADABLE in stage 'tokenize'"):
        run_job(
            job,
            Meanwhile(lambda: inputs.rename(tmp_path / "unmounted")),
            open_tokenizer=open_touchy_tokenizer,
        )
    assert uncoded_so_far(tmp_path / "out") == 0
    (tmp_path / "unmounted").rename(inputs)
    run_job(job, Silent(), open_tokenizer=open_touchy_tokenizer)
    assert uncoded(tmp_path / "out") == {}
    check(tmp_path / "out", 0)


def uncoded_so_far(out: Path) -> int:
    assert verify(out).ok
    return status_of(out).uncoded


def test_a_segment_that_the_tokenizer_refuses_or_dies_of_costs_its_own_codes(
    tmp_path: Path,
) -> None:
    words = {"a": "good", "b": "refused", "c": "good", "d": "deadly", "e": "good"}
    inputs = write_words(tmp_path / "in", words)
    job = loud_job(inputs, tmp_path / "out", RunSpec(workers=2, max_attempts=1))
    told = Counting()
    run_job(job, told, open_tokenizer=open_touchy_tokenizer)
    found = uncoded(tmp_path / "out")
    assert found == {("b", "ENGINE_ERROR"): SEGMENTS_KEPT, ("d", "CRASH"): SEGMENTS_KEPT}
    check(tmp_path / "out", 2 * SEGMENTS_KEPT)
    assert len(told.shards) == 3
