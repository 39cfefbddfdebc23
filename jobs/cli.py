"""The command `audiomill`: thin shells over functions that a notebook could call.

Exit codes: 0 done; 1 a bug (with its traceback); 2 what was asked for cannot be done (one line says
what and how to mend it); 3 finished, with more failed inputs than the spec allows; 130 interrupted.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from schemas.errors import AudiomillError

app = typer.Typer(
    name="audiomill",
    help="Raw audio to manifests, token shards and a model, by one job spec.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="A job spec (YAML).")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY.PATH=VALUE]...", help="Override spec keys.")
]


def _folder(output: str) -> Path:
    from pipeline.working_copy import folder_of

    return folder_of(output)


Out = Annotated[
    Path,
    typer.Argument(metavar="OUT", help="The output of a job: a folder or a URI.", parser=_folder),
]
Address = Annotated[str | None, typer.Option(help="Address of a Ray cluster, e.g. auto.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


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


tokenizer_app = typer.Typer(
    help="Audio files to codes and back; training and scores.", no_args_is_help=True
)
app.add_typer(tokenizer_app, name="tokenizer")

Model = Annotated[
    str | None,
    typer.Option(help="Folder of a released tokenizer; without one, the bundled one."),
]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]


@tokenizer_app.command("encode")
def tokenizer_encode(
    source: Annotated[str, typer.Argument(metavar="AUDIO", help="A file, a folder or a glob.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the codes.")],
    model: Model = None,
    device: Device = "cpu",
    codebooks: Annotated[int, typer.Option(min=1, max=32, help="RVQ layers to keep.")] = 8,
) -> None:
    """Turn audio files into codes, one NAME.codes.safetensors each.

    Example: audiomill tokenizer encode recordings -o codes --model models/MiMo-Audio-Tokenizer
    """
    from jobs.tokenizer_command import encode, tokenizer_spec

    num_encoded, failed = encode(source, out, tokenizer_spec(model, device, codebooks))
    print(f"{num_encoded} encoded into {out}")
    for line in failed:
        _complain(f"failed: {line}")
    if failed:
        raise typer.Exit(3)


@tokenizer_app.command("decode")
def tokenizer_decode(
    source: Annotated[
        str, typer.Argument(metavar="CODES", help="A codes file, a folder of them, or SHARD:ROW.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder, or NAME.wav.")],
    model: Model = None,
    device: Device = "cpu",
) -> None:
    """Turn codes back into WAV files.

    Example: audiomill tokenizer decode out/demo/shards/shard-000000-0123.parquet:3 -o x.wav
    """
    from jobs.tokenizer_command import decode, tokenizer_spec

    for path in decode(source, out, tokenizer_spec(model, device, 8)):
        print(path)


@tokenizer_app.command("train")
def tokenizer_train(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="A training spec (YAML).")],
    overrides: Overrides = None,
) -> None:
    """Train a tokenizer, or go on where the training stopped.

    Example: audiomill tokenizer train jobs/tokenizer-small.yaml data.uri=speech output=out/mine
    """
    from jobs.tokenizer_train import train

    print(train(spec, overrides))


@tokenizer_app.command("eval")
def tokenizer_eval(
    source: Annotated[str, typer.Argument(metavar="AUDIO", help="A file, a folder or a glob.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the scores.")],
    model: Model = None,
    device: Device = "cpu",
    codebooks: Annotated[int, typer.Option(min=1, max=32, help="RVQ layers to keep.")] = 8,
    keep_audio: Annotated[bool, typer.Option(help="Write what was decoded as WAV.")] = False,
) -> None:
    """Score a tokenizer's round trip: PESQ, STOI, speaker, mel distance, codebook use.

    Example: audiomill tokenizer eval recordings -o scores --keep-audio
    """
    from jobs.tokenizer_command import tokenizer_spec
    from jobs.tokenizer_eval import codebooks_table, evaluate, scores_table

    found = evaluate(source, out, tokenizer_spec(model, device, codebooks), keep_audio=keep_audio)
    Console().print(scores_table(found), codebooks_table(found))
    if found.note:
        print(found.note, file=sys.stderr)
    for clip in found.clips:
        if clip.cause:
            _complain(f"{clip.outcome}: {clip.name}: {clip.cause}")
    if found.num("failed"):
        raise typer.Exit(3)


@app.command("train")
def train_model(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="A training spec (YAML).")],
    overrides: Overrides = None,
    ray_workers: Annotated[
        int | None, typer.Option(min=1, help="Train in so many workers of Ray Train.")
    ] = None,
    address: Address = None,
) -> None:
    """Train the language model on shards, or go on where the training stopped.

    Example: audiomill train jobs/pretrain-tiny.yaml output=out/mine steps=100
    """
    if ray_workers is not None or address is not None:
        from jobs.train_on_ray import train_on_ray

        print(train_on_ray(spec, overrides, ray_workers or 1, address))
        return
    from jobs.train_command import train

    try:
        folder = train(spec, overrides)
    except KeyboardInterrupt:
        print("stopped: the same command goes on from the last checkpoint", file=sys.stderr)
        raise typer.Exit(130) from None
    if os.environ.get("RANK", "0") == "0":  # of torchrun's processes the first speaks
        print(folder)


@app.command("text-shards")
def text_shards(
    source: Annotated[
        Path, typer.Argument(metavar="TEXTS", help="A folder or file: .txt, .jsonl, .parquet.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A folder that is not there.")],
    column: Annotated[str, typer.Option(help="Key or column with the text.")] = "text",
    max_chars: Annotated[
        int, typer.Option(min=1, help="Longer documents are cut; a context must hold a piece.")
    ] = 6000,
) -> None:
    """Make written documents a text-only source for training.

    Example: audiomill text-shards books out/books, then in the training spec under data.sources:
    {uri: out/books, tasks: {text: 1}}
    """
    from jobs.text_command import write_text_shards

    found = write_text_shards(source, out, column=column, max_chars=max_chars)
    print(
        f"{found.num_documents} documents in {found.num_rows} rows, {found.num_empty} empty ones "
        f"dropped, {len(found.failed)} failed: {out}"
    )
    for line in found.failed:
        _complain(f"failed: {line}")
    if found.failed:
        raise typer.Exit(3)


@app.command()
def export(
    out: Annotated[str, typer.Argument(metavar="OUT", help="The output of a job, or its shards.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder that is not there.")],
    format: Annotated[str, typer.Option(help="webdataset, mds or litdata.")],
) -> None:
    """Write committed shards in the format of another loader, one sample a segment.

    Example: audiomill export out/demo out/demo-mds --format mds
    """
    from model.loader.export import export_shards

    found = export_shards(out, folder, format=format)
    print(
        f"{found.num_rows} segments, {found.num_frames} frames, in {found.num_files} files: "
        f"{folder}"
    )


@app.command()
def generate(
    task: Annotated[str, typer.Argument(metavar="TASK", help="See above.")],
    text: Annotated[str | None, typer.Option(help="What to say, to ask or to read aloud.")] = None,
    audio: Annotated[Path | None, typer.Option(help="The recording it is about.")] = None,
    turns: Annotated[
        Path | None, typer.Option(help="Earlier turns or examples (JSON; jobs/README.md).")
    ] = None,
    instruction: Annotated[
        str | None, typer.Option(help="Style of speech, system text, or what the examples show.")
    ] = None,
    voice: Annotated[Path | None, typer.Option(help="A recording to sound like.")] = None,
    answer: Annotated[str | None, typer.Option(help="text or speech.")] = None,
    think: Annotated[bool, typer.Option("--think", help="Think before the answer.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="WAV file for speech.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Folder of a language model; without one, a tiny untrained.")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Folder of its audio tokenizer; without one, the bundled.")
    ] = None,
    device: Device = "cpu",
    seed: Annotated[int, typer.Option(min=0, help="Of wording and sampling.")] = 0,
    max_new: Annotated[int, typer.Option(min=1, help="Groups at most; 6.25 are a second.")] = 512,
    text_sampling: Annotated[
        str | None, typer.Option(help="temperature=0.6,top_k=50,top_p=0.95; temperature=0: greedy.")
    ] = None,
    speech_sampling: Annotated[str | None, typer.Option(help="The same for speech.")] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Write the answer as it comes.")] = False,
) -> None:
    """Ask the language model; it answers in text and speech.

    TASK is asr, tts, instruct-tts, understand, dialogue, continue, in-context, question, few-shot.

    Example: audiomill generate tts --text "Good morning." -o hello.wav --model
    models/MiMo-Audio-7B-Instruct --tokenizer models/MiMo-Audio-Tokenizer
    """
    from jobs.generate_command import ask
    from jobs.generate_questions import Asked

    asked = Asked(
        task=task,
        text=text,
        audio=audio,
        turns=turns,
        instruction=instruction,
        voice=voice,
        answer=answer,
        think=think,
    )
    for piece in ask(
        asked,
        model=model,
        tokenizer=tokenizer,
        device=device,
        out=out,
        stream=stream,
        seed=seed,
        max_new=max_new,
        text_sampling=text_sampling,
        speech_sampling=speech_sampling,
    ):
        print(piece, end="", flush=True)


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
        _complain(f"audiomill: {error}")
        return 2
    except KeyboardInterrupt:
        print("audiomill: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        _complain(f"audiomill: {error.format_message()}")
        return 2
    return int(result) if isinstance(result, int) else 0


def _complain(line: str) -> None:
    """One line on standard error; the names of files in it drive no terminal."""
    from pipeline.shown_text import clean

    print(clean(line), file=sys.stderr)


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
