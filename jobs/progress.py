"""Tells a person how a run is going: a live bar in a terminal, a line now and then in a log."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from pipeline.fit import Pool
from pipeline.inputs import Listing
from pipeline.shards import ShardPlan
from pipeline.worker import UnitResult
from schemas.source import Source

LINE_EVERY_S = 10.0
TOKENIZING = "tokenizing"


class RunProgress:
    """A `pipeline.run.Reporter` that shows hours, rate, yield and time to go.

    Time to go follows the bytes of the inputs, not their number: a long file is not a short one.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = console.is_terminal
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not self._live,
        )
        self._task: TaskID | None = None
        self._title = ""
        self._total = self._done = 0
        self._bytes_of: dict[str, int] = {}
        self._bytes_total = self._bytes_done = 0
        self._decoded_s = self._kept_s = 0.0
        self._failed = 0
        self._began = self._last_line = time.monotonic()

    @contextmanager
    def shown(self) -> Iterator["RunProgress"]:
        """The bar stands on the screen inside the block."""
        with self._progress:
            yield self

    def listed(self, listing: Listing, pending: list[Source]) -> None:
        self._bytes_of = {s.source_id: s.size_bytes for s in pending}
        self.say(
            f"{len(listing.sources)} inputs ({len(pending)} to do), "
            f"{sum(s.size_bytes for s in listing.sources) / 1e6:.1f} MB; "
            f"{listing.num_left_alone} other files left alone"
        )

    def workers_up(self, pools: tuple[Pool, ...], seconds: float) -> None:
        said = ", ".join(f"{p.size} {p.kind} worker{'s' if p.size > 1 else ''}" for p in pools)
        self.say(f"{said} up after {seconds:.1f} s")

    def sweep_begins(self, title: str, num_inputs: int) -> None:
        self._title, self._total, self._done = title, num_inputs, 0
        self._bytes_done, self._bytes_total = 0, sum(self._bytes_of.values())
        self._decoded_s = self._kept_s = 0.0
        self._began = time.monotonic()
        self._new_task()

    def unit_done(self, result: UnitResult) -> None:
        self._done += result.num_inputs
        self._bytes_done += result.num_bytes
        self._decoded_s += result.decoded_s
        self._kept_s += result.kept_s
        self._failed += result.num_by_outcome.get("failed", 0)
        self._show(self._figures())

    def duplicates_settled(self, result: UnitResult) -> None:
        repeats = "input repeats another" if result.num_inputs == 1 else "inputs repeat others"
        self.say(f"{result.num_inputs} {repeats}; no more is done on that")

    def tokenizing(self, num_shards: int, num_segments: int) -> None:
        self._title, self._total, self._done = TOKENIZING, num_shards, 0
        self._new_task()
        if num_shards:
            self.say(f"tokenizing {num_segments} segments into {num_shards} shards")

    def shard_done(self, plan: ShardPlan, num_frames: int) -> None:
        self._done += 1
        self._show(self._figures())

    def tick(self) -> None:
        """Called often; in a log it leaves a line now and then, even when nothing has ended."""
        due = time.monotonic() - self._last_line >= LINE_EVERY_S
        if self._title and not self._live and due:
            self._line(self._figures())

    def say(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _new_task(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(self._title, total=self._total, figures="")

    def _show(self, figures: str) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=self._done, figures=figures)
        if not self._live and time.monotonic() - self._last_line >= LINE_EVERY_S:
            self._line(figures)

    def _line(self, figures: str) -> None:
        self._last_line = time.monotonic()
        self.say(f"{self._title}: {figures}")

    def _figures(self) -> str:
        if self._title == TOKENIZING:
            return f"{self._done}/{self._total} shards"
        elapsed_s = max(time.monotonic() - self._began, 1e-3)
        hours = self._decoded_s / 3600
        parts = [f"{self._done}/{self._total} inputs", f"{hours:.3f} h"]
        if self._decoded_s:
            parts.append(f"{self._decoded_s / elapsed_s:.1f}x real time")
        if self._kept_s:
            parts.append(f"{self._kept_s / self._decoded_s:.0%} kept")
        if self._failed:
            parts.append(f"{self._failed} failed")
        if 0 < self._bytes_done < self._bytes_total:
            left_s = elapsed_s * (self._bytes_total / self._bytes_done - 1)
            parts.append(f"{left_s:.0f} s to go")
        return ", ".join(parts)
