"""Arguments that several commands share, and how a command complains."""

import sys
from pathlib import Path
from typing import Annotated

import typer

SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="A job spec (YAML).")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY.PATH=VALUE]...", help="Override spec keys.")
]


def folder(output: str) -> Path:
    """The folder to read of a job's output, which may lie on an object store."""
    from pipeline.working_copy import folder_of

    return folder_of(output)


Out = Annotated[
    Path,
    typer.Argument(metavar="OUT", help="The output of a job: a folder or a URI.", parser=folder),
]
Address = Annotated[str | None, typer.Option(help="Address of a Ray cluster, e.g. auto.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]


def complain(line: str) -> None:
    """One line on standard error; the names of files in it drive no terminal."""
    from pipeline.shown_text import clean

    print(clean(line), file=sys.stderr)
