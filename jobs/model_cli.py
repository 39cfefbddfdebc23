"""The trainer's commands: train, text-shards, export, generate."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from jobs.cli_arguments import Address, Device, Overrides, complain

model_app = typer.Typer()


@model_app.command("train")
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


@model_app.command("text-shards")
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
        complain(f"failed: {line}")
    if found.failed:
        raise typer.Exit(3)


@model_app.command()
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


@model_app.command()
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

    Exit code 3: the answer came without the speech that --out was to get; no file was written.

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
    code = ask(
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
    )
    raise typer.Exit(code)
