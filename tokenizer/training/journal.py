"""What a training run leaves to look at: scalars, curves, sounds."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import matplotlib
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from schemas.errors import StorageError

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


_excepthook = threading.excepthook


def _leave_to_us(failed: threading.ExceptHookArgs) -> None:
    """TensorBoard's thread keeps what the disk said for the next call; the page of traceback that
    it prints as well would hide our one line."""
    of_tensorboard = type(failed.thread).__module__.startswith("tensorboard.")
    if not (of_tensorboard and isinstance(failed.exc_value, OSError)):
        _excepthook(failed)


threading.excepthook = _leave_to_us


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """What the disk refuses under `path` is a `StorageError` that says what to do."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            f"{path} could not be written ({error.strerror or error}); the checkpoints beside it "
            "stay. Make room and run the same command again"
        ) from error


class Journal:
    """`OUT/log.jsonl` (a line per logged step), `OUT/tensorboard/`, `OUT/curves.png`.

    Raises `StorageError` where one of them cannot be written, but never in the place of an error
    that is under way.
    """

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
            partial = path.with_suffix(".partial")
            with disk_errors(path):
                partial.write_text("".join(json.dumps(line) + "\n" for line in self._lines))
                partial.replace(path)
            with disk_errors(folder / "tensorboard"):
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
        with disk_errors(self._folder / LOG), (self._folder / LOG).open("a") as file:
            file.write(json.dumps(line) + "\n")
        with disk_errors(self._folder / "tensorboard"):
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
        path = self._folder / "curves.png"
        partial = path.with_suffix(".partial")
        with disk_errors(path):
            figure.savefig(partial, dpi=80, format="png")
            partial.replace(path)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._folder is not None:
            with suppress(StorageError) if error is not None else nullcontext():
                with disk_errors(self._folder / "tensorboard"):
                    self._board.close()
                self.draw()


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    # The last line may have been cut off in the middle.
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
