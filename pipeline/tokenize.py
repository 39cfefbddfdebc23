"""Kept segments to shards: cut and encoded in chunks on any worker, written shard by shard."""

from collections.abc import Callable
from typing import Any

from pipeline.commit import Outcome
from pipeline.engine import Engine
from pipeline.fit import tokenizer_resources
from pipeline.manifest import write_rows
from pipeline.output import Output
from pipeline.process import Clocks
from pipeline.shards import ShardPlan, plan_shards
from pipeline.store import DataFile
from pipeline.work import Poison, Step, Work
from schemas.errors import OutputError, StorageError
from schemas.ids import digest

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

    A shard that another driver was faster with is simply done, and one that garbage collection
    fenced off is done again.
    """
    waiting = list(plans)
    while waiting:
        done = output.manifest.units()
        waiting = [plan for plan in waiting if shard_unit(plan) not in done]
        batch = waiting[:SHARDS_AT_ONCE]
        _write_batch(engine, output, batch, fingerprint, on_shard, on_clocks, on_tick)


def _write_batch(
    engine: Engine,
    output: Output,
    batch: list[ShardPlan],
    fingerprint: str,
    on_shard: OnShard,
    on_clocks: Callable[[Clocks], None],
    on_tick: Callable[[], None],
) -> None:
    spec = engine.job.spec.tokenize
    if spec is None:
        raise RuntimeError("the job has no 'tokenize' section")
    num_codebooks = spec.num_codebooks
    kind = tokenizer_resources(spec).kind
    steps: tuple[Step, ...] = (Step("cpu", "cut_and_encode"),)
    if kind == "gpu":
        steps = (Step("cpu", "cut"), Step("gpu", "encode"))
    parts: dict[tuple[int, int], Any] = {}
    chunks = [
        Work(f"{shard_unit(plan)}/{number}", (index, number), (chunk,), steps)
        for index, plan in enumerate(batch)
        for number, chunk in enumerate(plan.chunks())
    ]

    def keep(work: Work, reference: Any) -> None:
        parts[work.key] = reference

    _or_give_up(engine.stream(chunks, keep, keep_refs=True, on_tick=on_tick))
    epoch = output.manifest.epoch()
    writes = [
        Work(
            shard_unit(plan),
            plan,
            (plan, *(parts[key] for key in sorted(parts) if key[0] == index)),
            (Step("cpu", "write", (fingerprint, epoch)),),
        )
        for index, plan in enumerate(batch)
    ]

    def commit(work: Work, result: tuple[DataFile, list[int], Clocks]) -> None:
        plan: ShardPlan = work.key
        file, frames, clocks = result
        rows = shard_rows(plan, file, frames, fingerprint, num_codebooks)
        files = [*write_rows(output.out, shard_unit(plan), epoch, rows), file]
        if output.manifest.commit(shard_unit(plan), files, epoch) is Outcome.COMMITTED:
            on_clocks(clocks)
            on_shard(plan, sum(frames))

    _or_give_up(engine.stream(writes, commit, on_tick=on_tick))


def shard_unit(plan: ShardPlan) -> str:
    """Id of the unit that a shard is committed under."""
    return digest("shard", plan.name)


def shard_rows(
    plan: ShardPlan, file: DataFile, frames: list[int], fingerprint: str, num_codebooks: int
) -> dict[str, list[dict[str, Any]]]:
    """Rows of the tables that tell of a shard; `frames` are those of its rows, in order."""
    tokens = [
        {
            "segment_id": row.segment_id,
            "recording_id": row.recording_id,
            "shard": plan.name,
            "shard_row": index,
            "num_frames": num_frames,
            "tokenizer_fingerprint": digest(fingerprint),
        }
        for index, (row, num_frames) in enumerate(zip(plan.rows, frames, strict=True))
    ]
    shard = {
        "shard": plan.name,
        "file": file.name.rpartition("/")[2],
        "num_rows": file.num_rows,
        "num_frames": sum(frames),
        "size_bytes": file.size_bytes,
        "sha256": file.sha256,
        "num_codebooks": num_codebooks,
        "tokenizer": fingerprint,
    }
    return {"tokens": tokens, "shards": [shard]}


def _or_give_up(poison: list[Poison]) -> None:
    if poison:
        raise StorageError(
            f"tokenizing ended its worker {poison[0].attempts} times ({poison[0].cause}); "
            "give it more memory or a smaller tokenize.batch_frames, then run the same command"
        )
