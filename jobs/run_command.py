"""`audiomill run`: assembles a spec, runs it, scores it, reports it, says where everything lies."""

import json
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

from jobs.assembly import assemble_spec
from jobs.progress import RunProgress
from jobs.tokenizers import open_tokenizer
from pipeline.assemble import Job, assemble
from pipeline.catalog import write_catalog
from pipeline.clips import clip_maker
from pipeline.files import write_text
from pipeline.inputs import list_inputs
from pipeline.manifest import Manifest
from pipeline.output import read_inputs, read_job
from pipeline.references import find_references
from pipeline.report import write_report
from pipeline.run import run_job
from pipeline.score import score_manifest
from pipeline.score_result import Score
from pipeline.spec_file import explain
from pipeline.status import Status, status_of
from pipeline.working_copy import folder_of, publish, shown
from schemas.errors import OutputError
from schemas.job import JobSpec

EXIT_DONE = 0
EXIT_TOO_MANY_FAILED = 3
EXIT_INTERRUPTED = 130


def run_spec(
    path: Path, overrides: list[str], address: str | None, fresh: bool, console: Console
) -> int:
    """Runs or resumes a job; returns the exit code."""
    job = assemble_spec(path, overrides)
    if job.spec.references is not None:
        # Read before the run as well, so that a broken reference is not found hours later.
        uris = [source.uri for source in list_inputs(job.spec.inputs).sources]
        find_references(Path(job.spec.references), uris)
    out = folder_of(job.spec.output)
    progress = RunProgress(console)
    try:
        with progress.shown():
            record = run_job(
                job, progress, open_tokenizer=open_tokenizer, address=address, fresh=fresh
            )
    except KeyboardInterrupt:
        if (out / "job.json").exists():
            found = status_of(out)
            progress.say(
                f"stopped: {found.inputs - found.pending} of {found.inputs} inputs are committed; "
                "run the same command to go on"
            )
        else:
            progress.say("stopped before anything was begun; run the same command to begin")
        return EXIT_INTERRUPTED
    score = score_output(job, out)
    page = _report(job, out, score)
    status = status_of(out)
    _print_end(console, status, score, out, page, record.wall_s, record.decoded_s)
    code = exit_code(job, status)
    if code == EXIT_TOO_MANY_FAILED:
        progress.say(
            f"exit code {code}: {status.failed} of {status.inputs} inputs and "
            f"{status.segments_failed} of {status.segments} segments failed, and "
            f"run.max_failed_fraction allows a share of {job.spec.run.max_failed_fraction:g}; ask "
            "table failures why"
        )
    return code


def exit_code(job: Job, status: Status) -> int:
    """3 when more inputs, or more segments, failed than the spec allows, else 0."""
    allowed = job.spec.run.max_failed_fraction
    too_many = (
        status.failed > allowed * status.inputs
        or status.segments_failed > allowed * status.segments
    )
    return EXIT_TOO_MANY_FAILED if too_many else EXIT_DONE


def score_output(job: Job, out: Path) -> Score | None:
    """Scores against the spec's references, if it names any; kept in OUT/scores.json."""
    if job.spec.references is None:
        return None
    manifest = Manifest(out)
    forgotten = manifest.forgotten()
    uris = [source.uri for source in read_inputs(out) if source.source_id not in forgotten]
    references = find_references(Path(job.spec.references), uris)
    with manifest.connect() as db:
        score = score_manifest(db, references)
    write_text(out / "scores.json", json.dumps(score.to_json(), indent=2, ensure_ascii=False))
    publish(out, "scores.json")
    return score


def write_report_of(out: Path) -> Path:
    """Writes the report of an output anew."""
    job = _job_of(out)
    write_catalog(Manifest(out))
    return _report(job, out, score_output(job, out))


def _job_of(out: Path) -> Job:
    record = read_job(out)
    try:
        spec = JobSpec.model_validate(record["spec"])
    except ValidationError as error:
        raise OutputError(
            f"{out}/job.json holds no spec this audiomill reads: {explain(error, JobSpec)}; use "
            "the audiomill that wrote it"
        ) from error
    return assemble(spec)


def _report(job: Job, out: Path, score: Score | None) -> Path:
    sources = {source.source_id: source for source in read_inputs(out)}
    with Manifest(out).connect() as db:
        page = write_report(
            db,
            out,
            job_name=job.spec.name,
            score=score,
            clip=clip_maker(job, sources),
        )
    publish(out, page.relative_to(out).as_posix())
    return page


def _print_end(
    console: Console,
    status: Status,
    score: Score | None,
    out: Path,
    page: Path,
    wall_s: float,
    decoded_s: float,
) -> None:
    def say(line: str = "") -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    say()
    say(status.to_text())
    if score is not None:
        say()
        say(score.to_text())
    say()
    if decoded_s:
        say(
            f"this run: {wall_s:.0f} s wall, {decoded_s / wall_s:.2f} hours of audio per hour "
            "(start and shards included)"
        )
    else:
        say("this run: nothing was left to do")
    where = shown(out)
    say(f"tables   {where}/manifest, views in {out}/catalog.duckdb")
    if status.shards:
        say(f"shards   {where}/shards")
    say(f"report   {page}")
    if status.failed or status.segments_failed:
        said = "SELECT uri, stage, error_class, message FROM failures"
        say(f'failed   audiomill query {where} "{said}"')
    say(f'ask      audiomill query {where} "SELECT reason, count(*) FROM segments GROUP BY 1"')
