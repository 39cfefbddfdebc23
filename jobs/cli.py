"""The command `audiomill`: thin shells over functions that a notebook could call.

Exit codes: 0 done; 1 a bug (with its traceback); 2 what was asked for cannot be done (one line says
what and how to mend it); 3 finished, but not as wanted (more failed than the spec allows, a file
left out as failed, no speech for `generate --out`); 130 interrupted.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from jobs.cli_arguments import Address, AsJson, Out, Overrides, SpecPath, complain
from jobs.model_cli import model_app
from jobs.tokenizer_cli import tokenizer_app
from schemas.errors import AudiomillError

app = typer.Typer(
    name="audiomill",
    help="Raw audio to manifests, token shards and a model, by one job spec.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def run(
    spec: SpecPath,
    overrides: Overrides = None,
    address: Address = None,
    fresh: Annotated[bool, typer.Option(help="Remove the job's earlier output first.")] = False,
) -> None:
    """Run a job spec, or go on where it stopped.

    Exit code 3: finished, but more inputs failed than run.max_failed_fraction allows.

    Example: audiomill run jobs/demo.yaml inputs.uri=recordings output=out/mine
    """
    from jobs.run_command import run_spec

    raise typer.Exit(run_spec(spec, overrides or [], address, fresh, Console()))


@app.command()
def plan(
    spec: SpecPath,
    overrides: Overrides = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Show what a run would do, whether it fits, and about what it takes. Runs nothing."""
    from jobs.assembly import assemble_spec, cluster_of
    from pipeline.plan import plan_job

    job = assemble_spec(spec, overrides or [])
    found = plan_job(job, cluster_of(job, address))
    print(found.to_json() if as_json else found.to_text())


@app.command()
def status(
    out: Out,
    as_json: AsJson = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every file and prove that all is as committed.")
    ] = False,
) -> None:
    """Count inputs, segments, hours and frames of an output from its committed tables.

    With --verify the exit code is 2 if a file is damaged or the tables do not add up.
    """
    from pipeline.status import status_of
    from pipeline.verify import verify as verify_output

    if verify:
        proof = verify_output(out)
        print(proof.to_json() if as_json else proof.to_text())
        raise typer.Exit(0 if proof.ok else 2)
    found = status_of(out)
    print(found.to_json() if as_json else found.to_text())


@app.command()
def gc(
    out: Out,
    grace: Annotated[
        float, typer.Option(min=0, help="Hours since a file was written; younger ones stay.")
    ] = 24.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Remove files that no commit names: of attempts that were killed, or lost a race.

    Example: audiomill gc out/demo --grace 1 --dry-run
    """
    from pipeline.leftovers import collect_leftovers

    found = collect_leftovers(out, grace_s=grace * 3600, dry_run=dry_run)
    for leftover in found:
        print(leftover.name)
    done = "would be removed" if dry_run else "removed"
    print(f"{len(found)} files {done}, {sum(f.size_bytes for f in found) / 1e6:.1f} MB")


@app.command()
def forget(
    out: Out,
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="URIs or source_ids of inputs.")
    ],
) -> None:
    """Delete every row and code of inputs, for good; exact copies of them go along.

    Only of a finished job. Tables and shards are written anew without them, and a tombstone stays.
    Their addresses stay in the job's list of inputs. Not reached are the inputs themselves, and
    what was exported, trained or cached elsewhere.

    Example: audiomill forget out/demo recordings/interview.wav
    """
    from pipeline.forget import forget as forget_sources
    from pipeline.shown_text import clean

    print(clean(forget_sources(out, sources).to_text()))


@app.command()
def query(
    out: Out,
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One statement that reads.")],
    format: Annotated[str, typer.Option(help="table, json, csv or parquet.")] = "table",
) -> None:
    """Ask the committed tables with DuckDB's SQL.

    Example: audiomill query out/demo "SELECT reason, count(*) FROM segments GROUP BY 1"
    """
    from jobs.query_command import print_query

    print_query(out, sql, format)


@app.command()
def report(out: Out) -> None:
    """Write OUT/report/index.html anew from the committed tables."""
    from jobs.run_command import write_report_of

    print(write_report_of(out))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what this machine has, and what each missing thing would give."""
    from jobs.doctor import run_doctor

    raise typer.Exit(run_doctor(as_json))


app.add_typer(tokenizer_app, name="tokenizer")
app.add_typer(model_app)


def _is_damaged_table(error: Exception) -> bool:
    """Whether DuckDB found a torn or rotten file; nothing but `--verify` reads every byte first."""
    duckdb = sys.modules.get("duckdb")  # costs a command that has not used it nothing
    kinds = (duckdb.IOException, duckdb.InvalidInputException) if duckdb else ()
    return isinstance(error, kinds)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    # Before any engine is imported: nothing phones home, nothing is fetched behind one's back.
    from pipeline.quiet import QUIET_ENVIRONMENT

    for name, value in QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        result = app(args=list(sys.argv[1:] if argv is None else argv), standalone_mode=False)
    except typer.Exit as done:
        return int(done.exit_code)
    except (AudiomillError, OSError) as error:
        if not isinstance(error, AudiomillError) and not isinstance(error, PermissionError):
            raise
        complain(f"audiomill: {error}")
        return 2
    except KeyboardInterrupt:
        print("audiomill: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if _is_damaged_table(error):
            said = " ".join(str(error).split())[:300]
            complain(
                f"audiomill: a file cannot be read ({said}); 'audiomill status OUT --verify' names "
                "all that is damaged: restore it from a backup"
            )
            return 2
        if not hasattr(error, "format_message"):
            raise
        complain(f"audiomill: {error.format_message()}")
        return 2
    return int(result) if isinstance(result, int) else 0


def entry_point() -> NoReturn:
    """The installed command: runs `main` and ends the process with its exit code.

    It leaves without the interpreter's own tear-down, because DuckDB 2.0's binding prints a page of
    harmless leak warnings there once Ray was started in the same process.
    """
    code = 1
    try:
        code = main()
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else 1
    except BaseException:  # noqa: BLE001  (a bug: its traceback, then exit code 1)
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    entry_point()
