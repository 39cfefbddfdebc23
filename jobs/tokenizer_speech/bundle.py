"""Puts a finished training run into the package, with the runs that it went on from.

    python -m jobs.tokenizer_speech.bundle SPEECH out/tokenizer-small out/tokenizer-small-further

Weights are the last run's, as bfloat16 (codebooks and window stay float32) and without the buffers
that only training reads; beside them the loss curves and the list of everything that was heard.
"""

import argparse
import csv
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from schemas.errors import TrainingError
from tokenizer import Tokenizer
from tokenizer.bundled import FOLDER
from tokenizer.checkpoint import TRAINING_BUFFERS, WEIGHTS_NAME
from tokenizer.training.clips import ClipStore


def bundle(speech: Path, runs: Sequence[Path], target: Path = FOLDER) -> None:
    """`runs` are outputs of `audiomill tokenizer train`, each started from the one before it, all
    of them trained on audio of the folder `speech`."""
    run = runs[-1]
    tokenizer = Tokenizer.from_pretrained(run / "tokenizer", dtype=torch.bfloat16)
    tokenizer.save_pretrained(target)
    weights = target / WEIGHTS_NAME
    kept = {
        name: tensor
        for name, tensor in load_file(weights).items()
        if not name.endswith(TRAINING_BUFFERS)
    }
    save_file(kept, weights, metadata={"format": "pt"})
    for number, one in enumerate(runs, start=1):
        name = "curves.png" if len(runs) == 1 else f"curves-{number}.png"
        shutil.copyfile(one / "curves.png", target / name)
    heard = {clip.name for one in runs for clip in ClipStore(one / "clips").clips}
    with (speech / "data.csv").open(newline="", encoding="utf-8") as file:
        unlisted = heard - {row["path"] for row in csv.DictReader(file)}
    if unlisted:
        raise TrainingError(
            f"{len(unlisted)} clips were heard that {speech / 'data.csv'} does not list, among "
            f"them {min(unlisted)}: their licence is not known"
        )
    with (
        (speech / "data.csv").open(newline="", encoding="utf-8") as file,
        (target / "data.csv").open("w", newline="", encoding="utf-8") as out,
    ):
        rows = csv.DictReader(file)
        writer = csv.DictWriter(out, rows.fieldnames or [], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            if row["path"] in heard or row["kind"] in ("noise", "music"):
                writer.writerow(row)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("speech", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    arguments = parser.parse_args(argv)
    bundle(arguments.speech, arguments.runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
