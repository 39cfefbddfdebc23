"""Kept segments on their way to codes: each gets codes, or a failure that says why it has none."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pipeline.breaker import Blame, Ended
from pipeline.item_state import Failure, ItemState
from pipeline.process import Clocks, raise_if_ours
from pipeline.rows import Row
from pipeline.shards import ShardPlan, ShardRow
from pipeline.store import DataFile
from schemas.codes import Codes, Waveform
from schemas.errors import TokenizerError
from schemas.failures import UNCODED

Cut = list[Waveform | Failure]
"""Of rows of a shard: their audio, or why there is none any more."""
Coded = list[Codes | Failure]
Encode = Callable[[Sequence[Waveform]], list[Codes]]


@dataclass(frozen=True, slots=True)
class WrittenShard:
    """A shard as a worker wrote it. Rows without codes are not in it."""

    plan: ShardPlan
    """As it was asked for."""
    rows: tuple[ShardRow, ...]
    """Those that have codes, in order."""
    file: DataFile | None
    """None where no row has codes."""
    num_frames: tuple[int, ...]
    """Of each row."""
    failures: tuple[tuple[ShardRow, Failure], ...]
    clocks: Clocks

    def blames(self) -> Ended:
        """Of every recording in it: why a segment of it has no codes, None where all have."""
        found: dict[str, Blame | None] = {row.source.source_id: None for row in self.plan.rows}
        for row, failure in self.failures:
            said = (failure.stage, failure.error_class, failure.message)
            found[row.source.source_id] = Blame(row.source.source_id, *said)
        return tuple(found.values())

    def failure_rows(self) -> list[Row]:
        """Rows of table `failures`."""
        return [
            {
                "source_id": row.source.source_id,
                "uri": row.source.uri,
                "recording_id": row.recording_id,
                "segment_id": row.segment_id,
                "stage": failure.stage,
                "error_class": failure.error_class,
                "message": failure.message,
                "traceback": failure.traceback,
            }
            for row, failure in self.failures
        ]


def missing_audio(item: ItemState, row: ShardRow) -> Failure | None:
    """Why a row cannot be cut from its recording, which gave audio when it was measured."""
    if item.alive and item.recording_id == row.recording_id:
        return None
    failure = item.failure or Failure(UNCODED, "CHANGED", "its bytes are others")
    message = (
        f"{row.source.uri} gave audio when it was measured and does not now ({failure.message}), "
        "so its segments have no codes; for these, put the file back and run into a new output"
    )
    return Failure(UNCODED, failure.error_class, message, failure.traceback)


def encoded(pieces: Cut, encode: Encode, samples_per_frame: int, batch_frames: int) -> Coded:
    """Codes of what is audio; a batch that raises is split until the culprit is alone."""
    codes: dict[int, Codes | Failure] = {}
    for batch in _by_frames(pieces, samples_per_frame, batch_frames):
        codes |= zip(batch, _encoded(list(batch.values()), encode), strict=True)
    return [
        piece if isinstance(piece, Failure) else codes[index] for index, piece in enumerate(pieces)
    ]


def write_coded(
    plan: ShardPlan,
    coded: Coded,
    clocks: Clocks,
    write: Callable[[ShardPlan, list[Codes]], DataFile],
) -> WrittenShard:
    """Writes the rows that have codes, if any has."""
    rows, codes, failures = [], [], []
    for row, one in zip(plan.rows, coded, strict=True):
        if isinstance(one, Failure):
            failures.append((row, one))
        else:
            rows.append(row)
            codes.append(one)
    return WrittenShard(
        plan=plan,
        rows=tuple(rows),
        file=write(replace(plan, rows=tuple(rows)), codes) if rows else None,
        num_frames=tuple(len(one) for one in codes),
        failures=tuple(failures),
        clocks=clocks,
    )


def _encoded(waveforms: Sequence[Waveform], encode: Encode) -> Coded:
    try:
        return list(encode(waveforms))
    except Exception as error:  # noqa: BLE001  (the boundary: one bad item stops nobody)
        raise_if_ours(error)
        if len(waveforms) == 1:
            return [_failure(error)]
    middle = len(waveforms) // 2
    return [*_encoded(waveforms[:middle], encode), *_encoded(waveforms[middle:], encode)]


def _failure(error: Exception) -> Failure:
    if isinstance(error, TokenizerError):
        return Failure(UNCODED, "ENGINE_ERROR", str(error))
    return Failure.of(UNCODED, error)


def _by_frames(pieces: Cut, samples_per_frame: int, batch_frames: int) -> list[dict[int, Waveform]]:
    """Audio by its place among `pieces`, in batches of at most `batch_frames` where it fits."""
    batches: list[dict[int, Waveform]] = []
    room = 0
    for index, piece in enumerate(pieces):
        if isinstance(piece, Failure):
            continue
        frames = -(-len(piece) // samples_per_frame)
        if not batches or frames > room:
            batches.append({})
            room = batch_frames
        batches[-1][index] = piece
        room -= frames
    return batches
