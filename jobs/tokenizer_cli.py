"""`audiomill tokenizer`: encode, decode, train, eval."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from jobs.cli_arguments import Device, Overrides, complain

tokenizer_app = typer.Typer(
    help="Audio files to codes and back; training and scores.", no_args_is_help=True
)

Audio = Annotated[str, typer.Argument(metavar="AUDIO", help="A file, a folder or a glob.")]
Codebooks = Annotated[int, typer.Option(min=1, max=32, help="RVQ layers to keep.")]
Model = Annotated[
    str | None,
    typer.Option(help="Folder of a released tokenizer; without one, the bundled one."),
]


@tokenizer_app.command("encode")
def tokenizer_encode(
    source: Audio,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the codes.")],
    model: Model = None,
    device: Device = "cpu",
    codebooks: Codebooks = 8,
) -> None:
    """Turn audio files into codes, one NAME.codes.safetensors each.

    Example: audiomill tokenizer encode recordings -o codes --model models/MiMo-Audio-Tokenizer
    """
    from jobs.tokenizer_command import encode, tokenizer_spec

    num_encoded, failed = encode(source, out, tokenizer_spec(model, device, codebooks))
    print(f"{num_encoded} encoded into {out}")
    for line in failed:
        complain(f"failed: {line}")
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
    source: Audio,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the scores.")],
    model: Model = None,
    device: Device = "cpu",
    codebooks: Codebooks = 8,
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
            complain(f"{clip.outcome}: {clip.name}: {clip.cause}")
    if found.num("failed"):
        raise typer.Exit(3)
