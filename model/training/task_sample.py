"""Rows of shards as task examples, in the form that the loader plans with."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from model.layout import Codes
from model.loader import GroupRows
from model.loader.sample import Lengths
from model.tasks import Example, Tasks
from model.training.samples import SampleRow, check_tasks, draw_task, lay_out, said_needs
from schemas.errors import ModelError
from schemas.ids import digest

_ADVICE = (
    "name tasks that fit the rows (speech_continuation wants no text), run the job with an 'asr' "
    "or 'caption' stage, or raise data.context_groups"
)
_FORMAT = 1  # raise it when what a row becomes changes


@dataclass(frozen=True, kw_only=True)
class TaskSample:
    """Each row serves one of the tasks, drawn by seed and segment id; one that fits none, nothing.

    Lengths are in groups, the positions of the backbone. Nothing is cut: an example that is longer
    than the context is left out, and counted by the loader.
    """

    tasks: Tasks
    shares: Mapping[str, float]
    """Task formats of `model.training.samples` to their shares of the rows."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises `SpecError` for a task that is not known."""
        check_tasks(self.shares)

    @property
    def name(self) -> str:
        layout = self.tasks.layout
        facts = {
            "format": _FORMAT,
            "shares": dict(self.shares),
            "seed": self.seed,
            "empty_codes": layout.empty_codes,
            "group_size": layout.group_size,
            "wording": self.tasks.wording.model_dump(mode="json"),
            "text": self.tasks.text.digest,
        }
        return f"tasks/{digest(json.dumps(facts, sort_keys=True))[:16]}"

    @property
    def columns(self) -> tuple[str, ...]:
        return (
            *("recording_id", "speaker", "start_sample", "end_sample", "sample_rate_hz"),
            *("language", "text", "caption_en", "caption_zh"),
        )

    @property
    def length_columns(self) -> tuple[str, ...]:
        return self.columns

    @property
    def num_codebooks(self) -> int:
        return self.tasks.layout.num_codebooks

    @property
    def can_be_cut(self) -> bool:
        return False

    def why_none(self, num_none: int, num_left_out: int, context_length: int) -> str:
        return (
            f"{num_none} rows serve none of the tasks ({said_needs(self.shares)}), {num_left_out} "
            f"are longer than data.context_groups, {context_length}; {_ADVICE}"
        )

    def lengths_of(self, rows: GroupRows) -> Lengths:
        frames = rows.table["num_frames"].to_numpy()
        nothing = np.zeros((int(frames.max(initial=0)), self.num_codebooks), np.int64)
        blanks = [nothing[:count] for count in frames]
        group = self.tasks.layout.group_size
        lengths = np.zeros(rows.num_rows, np.int64)
        for row, made in enumerate(self._rows(rows, blanks)):
            example = self._example(made)
            lengths[row] = 0 if example is None else example.ids.shape[1] // group
        return lengths

    def lay_out(self, rows: GroupRows, row: int, first: int, length: int) -> Example:
        wanted = range(max(0, row - 1), row + 1)  # an answer wants what it answers
        made = None
        for number in wanted:
            made = _row_of(rows, number, rows.codes(number).T.astype(np.int64), made)
        example = None if made is None else self._example(made)
        if example is None or example.ids.shape[1] != length * self.tasks.layout.group_size:
            raise ModelError(
                f"segment {rows.value('segment_id', row)} is laid out in another length than was "
                "planned; remove the loader's cache beside the run and start again"
            )
        return example

    def _rows(self, rows: GroupRows, codes: Sequence[Codes]) -> list[SampleRow]:
        made: list[SampleRow] = []
        for number, of_row in enumerate(codes):
            made.append(_row_of(rows, number, of_row, made[-1] if made else None))
        return made

    def _example(self, row: SampleRow) -> Example | None:
        random = np.random.default_rng(
            int(digest("sample", str(self.seed), row.segment_id)[:16], 16)
        )
        name = draw_task(row, self.shares, random)
        if name is None:
            return None
        try:
            return lay_out(self.tasks, name, row, random)
        except ModelError:
            return None  # its text holds structure: it serves nothing, and is counted so


def _row_of(rows: GroupRows, row: int, codes: Codes, before: SampleRow | None) -> SampleRow:
    def value(column: str) -> object:
        return rows.value(column, row)

    rate_hz = float(str(value("sample_rate_hz")))
    recording_id = str(value("recording_id"))
    follows = before is not None and before.recording_id == recording_id
    return SampleRow(
        segment_id=str(value("segment_id")),
        recording_id=recording_id,
        speaker=str(value("speaker")),
        start_s=float(str(value("start_sample"))) / rate_hz,
        end_s=float(str(value("end_sample"))) / rate_hz,
        text=_optional(value("text")),
        language=_optional(value("language")),
        caption_en=_optional(value("caption_en")),
        caption_zh=_optional(value("caption_zh")),
        codes=codes,
        before=before if follows else None,
    )


def _optional(value: object) -> str | None:
    return None if value is None else str(value)
