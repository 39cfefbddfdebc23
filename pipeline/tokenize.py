"""Kept segments to shards: cut and encoded in chunks on any worker, written shard by shard."""

from collections.abc import Callable
from typing import Any

from pipeline.engine import Engine, Step, Work
from pipeline.files import WrittenFile
from pipeline.fit import tokenizer_resources
from pipeline.output import Output
from pipeline.process import Clocks
from pipeline.shards import ShardPlan, plan_shards
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
    shards = output.manifest.table("shards", ["shard", "tokenizer"])
    if any(used != fingerprint for used in shards["tokenizer"].to_pylist()):
        raise OutputError(
            f"the shards in {output.out} were begun with another tokenizer than the one the spec "
            "opens now; put its weights back, or start over with --fresh"
        )
    done = set(shards["shard"].to_pylist())
    return [plan for plan in plans if plan.name not in done]


def ask_fingerprint(engine: Engine) -> str:
    """Fingerprint of the job's tokenizer, from the worker that will use it."""
    answers: list[str] = []
    spec = engine.job.spec.tokenize
    if spec is None:
        raise RuntimeError("the job has no 'tokenize' section")
    kind = tokenizer_resources(spec).kind
    engine.stream(
        [Work("fingerprint", (), (Step(kind, "tokenizer_fingerprint"),))],
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
    """Encodes and commits shards, a few at a time."""
    spec = engine.job.spec.tokenize
    if spec is None:
        raise RuntimeError("the job has no 'tokenize' section")
    kind = tokenizer_resources(spec).kind
    steps: tuple[Step, ...] = (Step("cpu", "cut_and_encode"),)
    if kind == "gpu":
        steps = (Step("cpu", "cut"), Step("gpu", "encode"))
    for start in range(0, len(plans), SHARDS_AT_ONCE):
        batch = plans[start : start + SHARDS_AT_ONCE]
        parts: dict[tuple[int, int], Any] = {}
        chunks = [
            Work((index, number), (chunk,), steps)
            for index, plan in enumerate(batch)
            for number, chunk in enumerate(plan.chunks())
        ]
        keep = _keeper(parts)
        _or_give_up(engine.stream(chunks, keep, keep_refs=True, on_tick=on_tick))
        writes = [
            Work(
                plan,
                (plan, *(parts[key] for key in sorted(parts) if key[0] == index)),
                (Step("cpu", "write", (fingerprint,)),),
            )
            for index, plan in enumerate(batch)
        ]

        def commit(work: Work, result: tuple[WrittenFile, list[int], Clocks]) -> None:
            plan: ShardPlan = work.key
            file, frames, clocks = result
            _commit_shard(output, plan, file, frames, fingerprint, spec.num_codebooks)
            on_clocks(clocks)
            on_shard(plan, sum(frames))

        _or_give_up(engine.stream(writes, commit, on_tick=on_tick))


def _keeper(parts: dict[tuple[int, int], Any]) -> Callable[[Work, Any], None]:
    def keep(work: Work, reference: Any) -> None:
        parts[work.key] = reference

    return keep


def _commit_shard(
    output: Output,
    plan: ShardPlan,
    file: WrittenFile,
    frames: list[int],
    fingerprint: str,
    num_codebooks: int,
) -> None:
    rows = {
        "tokens": [
            {
                "segment_id": row.segment_id,
                "recording_id": row.recording_id,
                "shard": plan.name,
                "shard_row": index,
                "num_frames": num_frames,
                "tokenizer_fingerprint": digest(fingerprint),
            }
            for index, (row, num_frames) in enumerate(zip(plan.rows, frames, strict=True))
        ],
        "shards": [
            {
                "shard": plan.name,
                "num_rows": file.num_rows,
                "num_frames": sum(frames),
                "size_bytes": file.size_bytes,
                "sha256": file.sha256,
                "num_codebooks": num_codebooks,
                "tokenizer": fingerprint,
            }
        ],
    }
    unit_id = digest("shard", plan.name)
    output.manifest.commit(unit_id, output.manifest.write(unit_id, rows))


def _or_give_up(poison: list[Any]) -> None:
    if poison:
        raise StorageError(
            f"tokenizing ended its worker {poison[0].work.attempts} times ({poison[0].cause}); "
            "give it more memory or a smaller tokenize.batch_frames, then run the same command"
        )
