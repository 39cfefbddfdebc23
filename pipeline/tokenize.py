"""Kept segments to shards: cut and encoded in chunks on any worker, written shard by shard."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.breaker import Breaker
from pipeline.coding import WrittenShard
from pipeline.commit import Outcome
from pipeline.engine import Engine
from pipeline.fit import tokenizer_resources
from pipeline.item_state import Failure
from pipeline.manifest import write_rows
from pipeline.output import Output
from pipeline.process import Clocks
from pipeline.rows import Rows
from pipeline.shards import ShardPlan, ShardRow, plan_shards
from pipeline.store import DataFile
from pipeline.work import Poison, Step, Work
from schemas.errors import OutputError, StorageError
from schemas.failures import UNCODED
from schemas.ids import digest
from schemas.job import TokenizeSpec

SHARDS_AT_ONCE = 2
"""Shards that are encoded together: few, because a run that is stopped loses what is not written,
and more than one, so that no worker waits for the end of a shard."""
SEGMENT_COLUMNS = [
    *("segment_id", "recording_id", "source_id", "start_sample", "end_sample", "sample_rate_hz"),
    *("speaker", "verdict", "language", "asr_language", "text"),
    *("caption_voice_en", "caption_voice_zh", "caption_style_en", "caption_style_zh"),
    *("caption_scene_en", "caption_scene_zh"),
]

OnShard = Callable[[ShardPlan, int], None]


def missing_shards(output: Output, engine: Engine, fingerprint: str) -> list[ShardPlan]:
    """Shards that the kept segments call for and no commit names yet."""
    spec = engine.job.spec.tokenize
    if spec is None:
        return []
    plans = plan_shards(
        output.manifest.table("segments", SEGMENT_COLUMNS),
        {source.source_id: source for source in output.sources},
        rows_per_shard=spec.rows_per_shard,
        tokenizer=f"{fingerprint}/{spec.num_codebooks}",
    )
    shards = output.manifest.table("shards", ["tokenizer"])
    if any(used != fingerprint for used in shards["tokenizer"].to_pylist()):
        raise OutputError(
            f"the shards in {output.out} were begun with another tokenizer than the one the spec "
            "opens now; put its weights back, or start over with --fresh"
        )
    done = output.manifest.units()
    return [plan for plan in plans if shard_unit(plan) not in done]


def ask_fingerprint(engine: Engine) -> str:
    """Fingerprint of the job's tokenizer, from the worker that will use it."""
    answers: list[str] = []
    spec = engine.job.spec.tokenize
    if spec is None:
        raise RuntimeError("the job has no 'tokenize' section")
    kind = tokenizer_resources(spec).kind
    engine.stream(
        [Work("fingerprint", None, (), (Step(kind, "tokenizer_fingerprint"),))],
        lambda _, answer: answers.append(answer),
    )
    return answers[0]


def write_shards(
    engine: Engine,
    output: Output,
    plans: list[ShardPlan],
    fingerprint: str,
    *,
    on_shard: OnShard,
    on_clocks: Callable[[Clocks], None],
    on_tick: Callable[[], None],
) -> None:
    """Encodes and commits shards, a few at a time; returns once all of them exist.

    A segment whose audio cannot be had any more, or that the tokenizer cannot take, is not in its
    shard but in table `failures`. A shard that another driver was faster with is simply done, and
    one that garbage collection fenced off is done again.
    """
    breaker = Breaker(engine.job.spec.run.breaker_inputs)
    batches = _Batches(engine, output, fingerprint, breaker, on_shard, on_clocks, on_tick)
    waiting = list(plans)
    while waiting:
        todo = deque(waiting)
        while todo:
            done = output.manifest.units()
            batch: list[ShardPlan] = []
            while todo and len(batch) < SHARDS_AT_ONCE:
                plan = todo.popleft()
                if shard_unit(plan) not in done:
                    batch.append(plan)
            batches.write(batch)
        breaker.close()
        done = output.manifest.units()
        waiting = [plan for plan in waiting if shard_unit(plan) not in done]


@dataclass(frozen=True, slots=True)
class _Batches:
    """A few shards at a time, from their rows to their commits."""

    engine: Engine
    output: Output
    fingerprint: str
    breaker: Breaker
    on_shard: OnShard
    on_clocks: Callable[[Clocks], None]
    on_tick: Callable[[], None]

    @property
    def spec(self) -> TokenizeSpec:
        if self.engine.job.spec.tokenize is None:
            raise RuntimeError("the job has no 'tokenize' section")
        return self.engine.job.spec.tokenize

    def write(self, batch: Sequence[ShardPlan]) -> None:
        """Encodes, writes and commits; a commit may be held back by the breaker."""
        parts = self._coded(batch)
        epoch = self.output.manifest.epoch()
        writes = [
            Work(
                shard_unit(plan),
                plan,
                (plan, *(parts[key] for key in sorted(parts) if key[0] == index)),
                (Step("cpu", "write", (self.fingerprint, epoch)),),
            )
            for index, plan in enumerate(batch)
        ]

        def on_done(_: Work, written: WrittenShard) -> None:
            self.breaker.see(written.blames())
            self.breaker.commit(written.blames(), lambda: self._commit(written, epoch))

        if poison := self.engine.stream(writes, on_done, on_tick=self.on_tick):
            raise StorageError(
                f"writing a shard ended its worker {poison[0].attempts} times "
                f"({poison[0].cause}); give it more memory, then run the same command"
            )

    def _coded(self, batch: Sequence[ShardPlan]) -> dict[tuple[int, int, int], Any]:
        """Codes of chunks, or references to them, by shard, chunk and place in it."""
        steps: tuple[Step, ...] = (Step("cpu", "cut_and_encode"),)
        kind = tokenizer_resources(self.spec).kind
        if kind == "gpu":
            steps = (Step("cpu", "cut"), Step("gpu", "encode"))
        parts: dict[tuple[int, int, int], Any] = {}
        chunks = [
            Work(f"{shard_unit(plan)}/{number}", (index, number, 0), (chunk,), steps)
            for index, plan in enumerate(batch)
            for number, chunk in enumerate(plan.chunks())
        ]

        def keep(work: Work, reference: Any) -> None:
            parts[work.key] = reference

        poison = self.engine.stream(chunks, keep, keep_refs=True, on_tick=self.on_tick)
        # What ended its worker is taken apart: the one segment that did it has no codes.
        singles = [
            Work(f"{entry.work.name}/{place}", (*entry.work.key[:2], place), ((row,),), steps)
            for entry in poison
            for place, row in enumerate(entry.work.first[0])
        ]
        for entry in self.engine.stream(singles, keep, keep_refs=True, on_tick=self.on_tick):
            ((row,),) = entry.work.first
            parts[entry.work.key] = ([_ended_its_worker(row, entry)], {})
        return parts

    def _commit(self, written: WrittenShard, epoch: int) -> None:
        unit = shard_unit(written.plan)
        rows: Rows = {"failures": written.failure_rows()}
        files = []
        if written.file is not None:
            rows |= shard_rows(written, written.file, self.fingerprint, self.spec.num_codebooks)
            files.append(written.file)
        files = [*write_rows(self.output.out, unit, epoch, rows), *files]
        if self.output.manifest.commit(unit, files, epoch) is Outcome.COMMITTED:
            self.on_clocks(written.clocks)
            self.on_shard(written.plan, sum(written.num_frames))


def _ended_its_worker(row: ShardRow, entry: Poison) -> Failure:
    message = (
        f"coding samples {row.start_sample} to {row.end_sample} of {row.source.uri} ended its "
        f"worker {entry.attempts} times ({entry.cause}); listen to it, or exclude the file with "
        "inputs.exclude"
    )
    return Failure(UNCODED, entry.error_class, message)


def shard_unit(plan: ShardPlan) -> str:
    """Id of the unit that a shard is committed under."""
    return digest("shard", plan.name)


def shard_rows(written: WrittenShard, file: DataFile, fingerprint: str, num_codebooks: int) -> Rows:
    """Rows of the tables that tell of a shard and of its rows."""
    tokens = [
        {
            "segment_id": row.segment_id,
            "recording_id": row.recording_id,
            "shard": written.plan.name,
            "shard_row": index,
            "num_frames": num_frames,
            "tokenizer_fingerprint": digest(fingerprint),
        }
        for index, (row, num_frames) in enumerate(
            zip(written.rows, written.num_frames, strict=True)
        )
    ]
    shard = {
        "shard": written.plan.name,
        "file": file.name.rpartition("/")[2],
        "num_rows": file.num_rows,
        "num_frames": sum(written.num_frames),
        "size_bytes": file.size_bytes,
        "sha256": file.sha256,
        "num_codebooks": num_codebooks,
        "tokenizer": fingerprint,
    }
    return {"tokens": tokens, "shards": [shard]}
