"""What runs inside a Ray actor: stages opened once, units taken through them, rows written."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.assemble import Job, NamedStage
from pipeline.blaming import blaming
from pipeline.breaker import Blame, blames_of
from pipeline.coding import Coded, Cut, WrittenShard, encoded, missing_audio, write_coded
from pipeline.inputs import fetched
from pipeline.item_state import ItemState
from pipeline.manifest import write_rows
from pipeline.process import (
    Begins,
    Clocks,
    StageClock,
    cpu_or_wall,
    let_go_of_audio,
    nobody,
    run_stages,
)
from pipeline.rows import Rows, rows_of, sketch_rows
from pipeline.shards import ShardPlan, ShardRow, write_shard
from pipeline.store import DataFile
from pipeline.working_copy import writing_folder
from schemas.codes import Codes, FrameEncoder, Waveform
from schemas.errors import AudiomillError, EngineMissingError
from schemas.failures import UNCODED
from schemas.ids import recording_id
from schemas.job import TokenizeSpec
from schemas.source import Source
from stages.base import RecordingStage

OpenTokenizer = Callable[[TokenizeSpec], FrameEncoder]
"""Spec to a tokenizer; handed in by `jobs/`, because this room knows no tokenizer."""
FETCHING, TOKENIZING, WRITING = "fetch", UNCODED, "write"
"""What a worker does besides the stages, named as they are."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One attempt at inputs that are committed together, under an id that names this work."""

    unit_id: str
    sources: tuple[Source, ...]
    epoch: int
    """The manifest's when this attempt began; names of its files hold it."""


@dataclass
class UnitState:
    """A unit on its way between two stations."""

    unit: Unit
    items: list[ItemState]
    clocks: Clocks = field(default_factory=dict)


@dataclass(frozen=True)
class UnitResult:
    """What a worker tells the driver of a finished unit: files and figures, never audio or text."""

    unit_id: str
    epoch: int
    files: tuple[DataFile, ...]
    clocks: Clocks
    num_inputs: int
    num_bytes: int
    num_by_outcome: dict[str, int]
    blames: tuple[Blame | None, ...]
    """Of every input in it, in no order that counts: why it failed, None if it did not."""
    num_segments: int
    num_kept: int
    decoded_s: float
    ended_s: float
    """Decoded seconds of the inputs that came to their end in this unit."""
    kept_s: float


class Worker:
    """Runs any station of its kind. One task at a time; opened stages stay open."""

    def __init__(
        self, job: Job, out: Path, open_tokenizer: OpenTokenizer | None, folder: Path | None = None
    ) -> None:
        if folder is not None:
            # Relative paths of inputs, models and output mean on every node what they mean to the
            # user; a node that does not mount the folder fails here and not in every input.
            os.chdir(folder)
        self._job = job
        self._out = writing_folder(job.spec.output, out)
        self._open_tokenizer = open_tokenizer
        self._stages = {named.label: named for named in job.stages}
        self._open: dict[str, NamedStage] = {}
        self._tokenizer: FrameEncoder | None = None
        self._begins: Begins = nobody

    def tokenizer_fingerprint(self) -> str:
        """Fingerprint of the job's tokenizer, asked here so that the driver loads no weights."""
        return self._opened_tokenizer().fingerprint()

    def hash_source(self, source: Source) -> ItemState:
        """The input with its recording_id, or failed if it cannot be read."""
        item = ItemState(source)
        self._begins(FETCHING)
        with blaming(item, FETCHING), fetched(source) as path:
            item.recording_id = recording_id(path)
        return item

    def begin(self, unit: Unit, labels: Sequence[str]) -> UnitState:
        """Fetches a unit's inputs for its first station; one that changes meanwhile fails."""
        state = UnitState(unit, [ItemState(source) for source in unit.sources])
        with ExitStack() as all_files:
            files = [all_files.enter_context(ExitStack()) for _ in state.items]
            for item, file in zip(state.items, files, strict=True):
                self._begins(FETCHING)
                with blaming(item, FETCHING):
                    path = file.enter_context(fetched(item.source))
                    item.recording_id = recording_id(path)
                    item.values["path"] = path
            state = self.go_on(state, labels)
            for item, file in zip(state.items, files, strict=True):
                with blaming(item, FETCHING):
                    file.close()
        return state

    def go_on(self, state: UnitState, labels: Sequence[str]) -> UnitState:
        """Takes a unit through a station."""
        stages = [self._opened(name) for name in labels]
        add_clocks(state.clocks, run_stages(state.items, stages, self._begins))
        return state

    def end(self, state: UnitState, labels: Sequence[str], last_sweep: bool) -> UnitResult:
        """Takes a unit through its last station and writes its rows."""
        return self.finish(self.go_on(state, labels), last_sweep)

    def finish(self, state: UnitState, last_sweep: bool) -> UnitResult:
        """Writes the rows of a unit that went through a whole sweep.

        After the last sweep every input has come to its end. After an earlier one only those that
        failed or were rejected have; the others leave a sketch.
        """
        items = state.items
        ended = items if last_sweep else [item for item in items if not item.alive]
        rows: Rows = rows_of(ended)
        if not last_sweep:
            rows["sketches"] = sketch_rows(items)
        let_go_of_audio(items)
        self._begins(WRITING, limited=False)  # how slow storage is, no input can help
        files = write_rows(self._out, state.unit.unit_id, state.unit.epoch, rows)
        outcomes = [row["outcome"] for row in rows["recordings"]]
        return UnitResult(
            unit_id=state.unit.unit_id,
            epoch=state.unit.epoch,
            files=tuple(files),
            clocks=state.clocks,
            num_inputs=len(items),
            num_bytes=sum(item.source.size_bytes for item in items),
            num_by_outcome={name: outcomes.count(name) for name in set(outcomes)},
            blames=blames_of(rows, len(items)),
            num_segments=len(rows["segments"]),
            num_kept=sum(row["verdict"] == "kept" for row in rows["segments"]),
            decoded_s=sum(item.values.get("decoded_s") or 0.0 for item in items),
            ended_s=sum(row.get("decoded_s") or 0.0 for row in rows["recordings"]),
            kept_s=sum(row["kept_s"] for row in rows["recordings"]),
        )

    def run_unit(self, unit: Unit, labels: Sequence[str], last_sweep: bool) -> UnitResult:
        """All of the above at once, for a sweep that is a single station."""
        return self.finish(self.begin(unit, labels), last_sweep)

    def cut(self, rows: Sequence[ShardRow]) -> tuple[Cut, Clocks]:
        """Waveforms of the rows, decoded and normalized as they were when they were measured.

        A row whose recording cannot be had any more gets a failure instead.
        """
        pieces: Cut = []
        clocks: Clocks = {}
        audio_stages = [named.label for named in self._audio_stages()]
        current: ItemState | None = None
        for row in rows:
            if current is None or current.source.source_id != row.source.source_id:
                unit = Unit(row.recording_id, (row.source,), epoch=0)
                state = self.begin(unit, audio_stages)
                add_clocks(clocks, state.clocks)
                current = state.items[0]
            missing = missing_audio(current, row)
            span = (row.start_sample, row.end_sample)
            pieces.append(missing or current.values["audio"].cut(*span))
        return pieces, clocks

    def encode(self, cut: tuple[Cut, Clocks]) -> tuple[Coded, Clocks]:
        """Codes of waveforms, batched by frames."""
        pieces, clocks = cut
        spec = self._tokenize_spec()
        tokenizer = self._opened_tokenizer()
        now = cpu_or_wall(uses_gpu=spec.device == "cuda")

        def encode(waveforms: Sequence[Waveform]) -> list[Codes]:
            self._begins(TOKENIZING)
            return tokenizer.encode_numpy(waveforms, spec.num_codebooks)

        started = now()
        coded = encoded(pieces, encode, tokenizer.samples_per_frame, spec.batch_frames)
        add_clocks(clocks, {TOKENIZING: StageClock(len(pieces), now() - started)})
        return coded, clocks

    def cut_and_encode(self, rows: Sequence[ShardRow]) -> tuple[Coded, Clocks]:
        """Both at once, where the tokenizer runs on the CPU."""
        return self.encode(self.cut(rows))

    def write(self, plan: ShardPlan, *parts_then_fingerprint_and_epoch: Any) -> WrittenShard:
        """Writes a shard from the codes of its chunks."""
        *parts, fingerprint, epoch = parts_then_fingerprint_and_epoch
        spec = self._tokenize_spec()
        coded: Coded = []
        clocks: Clocks = {}
        for part, part_clocks in parts:
            coded += part
            add_clocks(clocks, part_clocks)
        self._begins(WRITING, limited=False)

        def write(rows: ShardPlan, codes: list[Codes]) -> DataFile:
            return write_shard(
                rows,
                codes,
                self._out,
                epoch=epoch,
                fingerprint=fingerprint,
                num_codebooks=spec.num_codebooks,
                rows_per_group=spec.rows_per_group,
            )

        return write_coded(plan, coded, clocks, write)

    def _opened(self, label: str) -> NamedStage:
        if label not in self._open:
            named = self._stages[label]
            self._begins(label, opening=True)
            try:
                named.stage.open()
            except AudiomillError:
                raise
            except Exception as error:
                raise EngineMissingError(
                    f"stages.{label}: engine {named.stage.engine!r} cannot be opened on a worker: "
                    f"{type(error).__name__}: {error}"
                ) from error
            self._open[label] = named
        return self._open[label]

    def _audio_stages(self) -> list[NamedStage]:
        return [
            named
            for named in self._job.stages
            if isinstance(named.stage, RecordingStage) and "audio" in named.stage.writes
        ]

    def _tokenize_spec(self) -> TokenizeSpec:
        spec = self._job.spec.tokenize
        if spec is None:
            raise RuntimeError("the job has no 'tokenize' section")
        return spec

    def _opened_tokenizer(self) -> FrameEncoder:
        if self._tokenizer is None:
            if self._open_tokenizer is None:
                raise RuntimeError("no tokenizer was handed in")
            self._begins(TOKENIZING, opening=True)
            self._tokenizer = self._open_tokenizer(self._tokenize_spec())
        return self._tokenizer


def add_clocks(total: Clocks, more: Clocks) -> None:
    """Adds the figures of `more` into `total`, stage by stage."""
    for label, clock in more.items():
        here = total.setdefault(label, StageClock())
        here.items += clock.items
        here.compute_s += clock.compute_s
