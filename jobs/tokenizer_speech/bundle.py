"""Puts a finished training run into the package.

    python -m jobs.tokenizer_speech.bundle out/tokenizer-small out/speech

Weights go as bfloat16 (codebooks and window stay float32) and without the buffers that only
training reads; beside them the loss curves and the list of everything that was heard.
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


def bundle(run: Path, speech: Path, target: Path = FOLDER) -> None:
    """`run` is the output of `audiomill tokenizer train`, `speech` the folder it was trained on."""
    tokenizer = Tokenizer.from_pretrained(run / "tokenizer", dtype=torch.bfloat16)
    tokenizer.save_pretrained(target)
    weights = target / WEIGHTS_NAME
    kept = {
        name: tensor
        for name, tensor in load_file(weights).items()
        if not name.endswith(TRAINING_BUFFERS)
    }
    save_file(kept, weights, metadata={"format": "pt"})
    shutil.copyfile(run / "curves.png", target / "curves.png")
    heard = {clip.name for clip in ClipStore(run / "clips").clips}
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
    parser.add_argument("run", type=Path)
    parser.add_argument("speech", type=Path)
    arguments = parser.parse_args(argv)
    bundle(arguments.run, arguments.speech)
    return 0


if __name__ == "__main__":
    sys.exit(main())
