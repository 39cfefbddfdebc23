"""A finished output of a toy job, made by a worker in this process: quick, and with every table."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from pipeline.assemble import Job
from pipeline.inputs import list_inputs
from pipeline.item_state import ItemState
from pipeline.manifest import write_rows
from pipeline.output import Output, open_output
from pipeline.rows import rows_of
from pipeline.shards import plan_shards
from pipeline.sweep import settle_near_duplicates
from pipeline.tokenize import SEGMENT_COLUMNS, shard_rows, shard_unit
from pipeline.units import FINISHED
from pipeline.worker import Unit, Worker
from schemas.ids import digest, recording_id
from schemas.verdict import Drop
from tests.pipeline.toy_jobs import ToyTokenizer, open_toy_tokenizer, toy_shard_job, write_words

WORDS = {"a": "good", "b": "good", "c": "silent", "d": "bad", "e": "good", "f": "good"}
"""Names of the inputs to what becomes of them; `e` and `f` repeat each other."""


def make_output(
    folder: Path,
    make_job: Callable[[Path, Path], Job] = toy_shard_job,
    *,
    copies: Mapping[str, str] | None = None,
) -> Path:
    """Runs a toy job over `WORDS` in `folder`; returns the output.

    `copies` are further inputs, by name, with the bytes of another.
    """
    inputs = write_words(folder / "in", WORDS)
    for name in ("e", "f"):
        (inputs / f"{name}.txt").write_text(f"good {name} same")
    for name, original in (copies or {}).items():
        shutil.copyfile(inputs / f"{original}.txt", inputs / f"{name}.txt")
    job = make_job(inputs, folder / "out")
    output = open_output(job, list_inputs(job.spec.inputs))
    _reject_copies(output, copies or {})
    worker = Worker(job, output.out, open_toy_tokenizer)
    for index, sweep in enumerate(job.passes):
        labels = [named.label for named in sweep.stages]
        for planned in output.open_units(sweep):
            unit = Unit(planned.unit_id, planned.sources, 0)
            result = worker.run_unit(unit, labels, index + 1 == len(job.passes))
            output.manifest.commit(result.unit_id, result.files, result.epoch)
        if sweep.barrier:
            settle_near_duplicates(output, sweep.barrier, lambda _: None)
    _make_shards(job, output, worker)
    output.manifest.commit_rows(FINISHED, {})
    return output.out


def _reject_copies(output: Output, copies: Mapping[str, str]) -> None:
    by_name = {PurePosixPath(source.uri).stem: source for source in output.sources}
    items = []
    for name, original in copies.items():
        item = ItemState(by_name[name], recording_id(Path(by_name[name].uri)))
        item.drop = Drop("exact_duplicate", measured=1.0)
        item.values["duplicate_of"] = by_name[original].source_id
        items.append(item)
    output.manifest.commit_rows(digest("exact-duplicates"), rows_of(items))


def _make_shards(job: Job, output: Output, worker: Worker) -> None:
    if job.spec.tokenize is None:
        raise RuntimeError("a toy job without shards")
    fingerprint = ToyTokenizer().fingerprint()
    plans = plan_shards(
        output.manifest.table("segments", SEGMENT_COLUMNS),
        {source.source_id: source for source in output.sources},
        rows_per_shard=job.spec.tokenize.rows_per_shard,
        tokenizer=fingerprint,
    )
    for plan in plans:
        written = worker.write(plan, worker.cut_and_encode(plan.rows), fingerprint, 0)
        assert written.file is not None
        rows = shard_rows(written, written.file, fingerprint, job.spec.tokenize.num_codebooks)
        files = [*write_rows(output.out, shard_unit(plan), 0, rows), written.file]
        output.manifest.commit(shard_unit(plan), files, 0)
