"""What a training run leaves to look at: scalars, curves, sounds."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import matplotlib
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

matplotlib.use("agg")

LOG = "log.jsonl"
TOKENIZER_CURVES: Mapping[str, tuple[str, ...]] = {
    "distance": ("loss/reconstruction", "held_out/reconstruction"),
    "other losses": (
        *("loss/commitment", "loss/audio_to_text", "loss/adversarial"),
        *("loss/feature_matching", "loss/discriminator"),
    ),
    "share of entries in use": tuple(f"use/{book}" for book in range(8)),
    "gradient norm": ("gradient/all",),
}


class Journal:
    """`OUT/log.jsonl` (a line per logged step), `OUT/tensorboard/`, `OUT/curves.png`."""

    def __init__(
        self,
        folder: Path | None,
        first_step: int,
        curves: Mapping[str, tuple[str, ...]] = TOKENIZER_CURVES,
    ) -> None:
        """Without a folder nothing is kept: of several processes only the first writes.

        `curves` are up to four pictures: a title and the figures drawn in it. Lines from
        `first_step` on are of a run that was cut off: they are made again.
        """
        self._folder, self._curves = folder, curves
        self._lines: list[dict[str, Any]] = []
        if folder is not None:
            path = folder / LOG
            self._lines = [line for line in _read(path) if line["step"] < first_step]
            path.write_text("".join(json.dumps(line) + "\n" for line in self._lines))
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step)

    def __enter__(self) -> Self:
        return self

    def write(self, step: int, stage: str, figures: Mapping[str, float]) -> None:
        """`step` counts over both stages."""
        if self._folder is None:
            return
        line: dict[str, Any] = {"step": step, "stage": stage}
        line |= {name: round(float(figure), 6) for name, figure in figures.items()}
        self._lines.append(line)
        with (self._folder / LOG).open("a") as file:
            file.write(json.dumps(line) + "\n")
        for name, figure in figures.items():
            self._board.add_scalar(name, float(figure), step)

    def draw(self) -> None:
        """The curves so far, as one picture."""
        if self._folder is None or not self._lines:
            return
        figure = Figure(figsize=(10, 8), layout="constrained")
        for axes, (title, names) in zip(
            figure.subplots(2, 2).flat, self._curves.items(), strict=False
        ):
            axes.set_title(title)
            axes.set_xlabel("step")
            for name in names:
                points = [(line["step"], line[name]) for line in self._lines if name in line]
                if points:
                    axes.plot(*zip(*points, strict=True), label=name)
            if axes.lines:
                axes.legend(fontsize="x-small")
        figure.savefig(self._folder / "curves.png", dpi=80)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._folder is not None:
            self._board.close()
            self.draw()


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    # The last line may have been cut off in the middle.
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
