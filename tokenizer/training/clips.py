"""Training audio on disk: every clip decoded once, side by side in one file that is mapped.

`samples.i16` holds 16-bit samples at the tokenizer's rate; `clips.parquet` has a row for every
file that was offered: kept, dropped with a reason, or failed with a cause. The folder appears
whole, under its name, or not at all.
"""

import hashlib
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.codes import Waveform
from schemas.errors import TrainingError

Outcome = Literal["kept", "dropped", "failed"]
_SAMPLES, _TABLE = "samples.i16", "clips.parquet"
_FULL_SCALE = 32_768.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipRow:
    """What became of one file."""

    name: str
    outcome: Outcome
    reason: str
    first_sample: int
    num_samples: int
    text: str | None


class ClipWriter:
    """Collects clips into a folder; use it as a context. Not one kept clip is an error."""

    def __init__(
        self,
        folder: Path,
        sample_rate_hz: int,
        *,
        silence_dbfs: float,
        min_s: float,
        made_of: str = "",
    ) -> None:
        """`made_of` tells apart what the clips are made of: files and settings."""
        self._folder = folder
        self._made_of = made_of
        self._rate_hz = sample_rate_hz
        self._silence_rms = 10.0 ** (silence_dbfs / 20)
        self._min_samples = round(min_s * sample_rate_hz)
        self._partial = folder.with_name(folder.name + ".partial")
        self._rows: list[ClipRow] = []
        self._written = 0

    def __enter__(self) -> Self:
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(parents=True)
        self._file = (self._partial / _SAMPLES).open("wb")
        return self

    def add(self, name: str, waveform: Waveform, text: str | None) -> None:
        """Keep a mono clip in [-1, 1], or drop it with a reason."""
        if waveform.size < self._min_samples:
            wanted = self._min_samples / self._rate_hz
            self._row(name, "dropped", f"{waveform.size / self._rate_hz:.2f} s, wanted {wanted} s")
            return
        if not np.isfinite(waveform).all():
            self._row(name, "failed", "has samples that are not finite")
            return
        rms = float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))
        if rms < self._silence_rms:
            self._row(name, "dropped", f"silent: RMS {20 * np.log10(max(rms, 1e-9)):.0f} dBFS")
            return
        pcm = np.clip(np.round(waveform * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1)
        self._file.write(pcm.astype("<i2").tobytes())
        self._row(name, "kept", "", waveform.size, text)
        self._written += waveform.size

    def fail(self, name: str, cause: str) -> None:
        """Note a file that could not be read."""
        self._row(name, "failed", cause)

    def _row(
        self, name: str, outcome: Outcome, reason: str, num: int = 0, text: str | None = None
    ) -> None:
        row = ClipRow(
            name=name,
            outcome=outcome,
            reason=reason,
            first_sample=self._written,
            num_samples=num,
            text=text,
        )
        self._rows.append(row)

    def _why_nothing(self) -> str:
        if not self._rows:
            return "there is no audio file to train on"
        first = self._rows[0]
        return (
            f"none of {len(self._rows)} audio files can be trained on; the first, {first.name}: "
            f"{first.reason}"
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        if kind is not None or not self._written:
            shutil.rmtree(self._partial, ignore_errors=True)
        if kind is not None:
            return
        if not self._written:
            raise TrainingError(self._why_nothing())
        table = pa.Table.from_pylist([asdict(row) for row in self._rows], schema=_SCHEMA)
        table = table.replace_schema_metadata(
            {"sample_rate_hz": str(self._rate_hz), "made_of": self._made_of}
        )
        pq.write_table(table, self._partial / _TABLE)
        shutil.rmtree(self._folder, ignore_errors=True)
        os.rename(self._partial, self._folder)


class ClipStore:
    """The kept clips of a folder that `ClipWriter` made."""

    def __init__(self, folder: Path) -> None:
        try:
            table = pq.read_table(folder / _TABLE)
        except (OSError, pa.ArrowInvalid) as error:
            raise TrainingError(
                f"{folder} holds no prepared clips ({error}); remove it and start again"
            ) from error
        self.rows = [ClipRow(**row) for row in table.to_pylist()]
        self.clips = [row for row in self.rows if row.outcome == "kept"]
        metadata = table.schema.metadata or {}
        self.sample_rate_hz = int(metadata[b"sample_rate_hz"])
        self.made_of = metadata.get(b"made_of", b"").decode()
        self.folder = folder
        self._mapped: npt.NDArray[np.int16] | None = None

    @classmethod
    def is_at(cls, folder: Path) -> bool:
        return (folder / _TABLE).is_file()

    def __len__(self) -> int:
        return len(self.clips)

    def waveform(self, index: int, first: int = 0, num_samples: int | None = None) -> Waveform:
        """Float32 samples of a clip, or of a stretch of it."""
        if self._mapped is None:
            self._mapped = np.memmap(self.folder / _SAMPLES, dtype="<i2", mode="r")
        clip = self.clips[index]
        last = clip.num_samples if num_samples is None else first + num_samples
        pcm = self._mapped[clip.first_sample + first : clip.first_sample + last]
        return pcm.astype(np.float32) / np.float32(_FULL_SCALE)

    @property
    def audio_s(self) -> float:
        return sum(clip.num_samples for clip in self.clips) / self.sample_rate_hz

    def digest(self) -> str:
        """Changes with the files and settings, and the names, lengths and texts of the clips."""
        text = self.made_of + "\n".join(
            f"{clip.name}\t{clip.num_samples}\t{clip.text}" for clip in self.clips
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_mapped": None}  # each process maps the file itself


_SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("first_sample", pa.int64(), nullable=False),
        pa.field("num_samples", pa.int64(), nullable=False),
        pa.field("text", pa.string()),
    ]
)
