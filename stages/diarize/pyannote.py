"""Diarization by pyannote.audio, from a pipeline in a local folder."""

import os
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from schemas.errors import EngineMissingError, ItemError
from schemas.spans import Span
from schemas.verdict import Keep, Verdict
from stages.base import Recording, RecordingStage, Resources, StageSpec
from stages.diarize.clustering import Floats, link_speakers
from stages.diarize.pyannote_folder import CONFIG, check_pipeline_folder, pipeline_digest
from stages.diarize.turns import name_turns, overlap_samples, stretches

RATE_HZ = 16_000
_HOW = (
    "accept the conditions of pyannote/speaker-diarization-community-1 on its page, download the "
    "whole repository into a folder and name that folder, or use engine: embeddings"
)


class PyannoteDiarizer(RecordingStage):
    """pyannote.audio's speaker diarization, overlapped speech included.

    The pipeline comes from `model`, a folder with `config.yaml` and what it names; no hub is asked
    and no telemetry sent. Its checkpoints are pickles, which is how pyannote.audio 4 stores them;
    they are looked at first (`pyannote_folder.py`). Stretches of more than `stretch_hours` are
    diarized one by one, because its clustering takes 8 bytes for every pair of embeddings, and
    their speakers are linked by embedding.
    """

    class Spec(StageSpec):
        model: str = Field(min_length=1, description="folder of a pyannote pipeline")
        device: Literal["cpu", "cuda"] = "cpu"
        min_speakers: int | None = Field(default=None, ge=1, le=100)
        max_speakers: int | None = Field(default=None, ge=1, le=100)
        max_distance: float = Field(default=0.3, gt=0, lt=1)
        """How far apart one speaker's mean embeddings may be in two stretches: half the squared
        distance of unit vectors, which is the cosine distance."""
        stretch_hours: float = Field(default=2.0, ge=0.1, le=4)
        sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
        """Digest of the folder, which must then be that one; what its pickles do is trusted."""

    spec: Spec
    name, engine = "diarize", "pyannote"
    reads: ClassVar = frozenset({"audio", "speech"})
    writes: ClassVar = frozenset({"turns", "num_speakers", "overlap_s"})
    speed_x_real_time = 40.0  # on a GPU; about 0.7 on one CPU core

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        if find_spec("pyannote.audio") is None:
            raise EngineMissingError(
                "the package pyannote.audio is not installed; install it, or use engine: embeddings"
            )
        if not (Path(spec.model) / CONFIG).is_file():
            raise EngineMissingError(f"model: {spec.model!r} holds no {CONFIG}; {_HOW}")
        self._pipeline: Any = None

    @cached_property
    def _digest(self) -> str:
        return pipeline_digest(Path(self.spec.model))

    def describe(self) -> str:
        name = Path(self.spec.model).name
        return f"pyannote.audio {version('pyannote.audio')} {name} {self._digest[:12]}"

    def resources(self) -> Resources:
        return Resources(num_gpus=1.0 if self.spec.device == "cuda" else 0.0, memory_mb=3000)

    def open(self) -> None:
        # Before the import: pyannote.audio sends telemetry otherwise.
        os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
        os.environ["HF_HUB_OFFLINE"] = "1"
        import torch
        from pyannote.audio import Pipeline

        self._check_folder()
        try:
            pipeline: Any = Pipeline.from_pretrained(self.spec.model)
        except Exception as error:  # its config may name any code and any file
            raise EngineMissingError(
                f"stages.diarize.model: {self.spec.model!r} cannot be loaded as a pyannote "
                f"pipeline ({type(error).__name__}: {error}); {_HOW}"
            ) from error
        self._pipeline = pipeline.to(torch.device(self.spec.device))

    def close(self) -> None:
        self._pipeline = None

    def _check_folder(self) -> None:
        folder, wanted = Path(self.spec.model), self.spec.sha256
        found = pipeline_digest(folder)  # of what lies here now, not of what the driver saw
        if wanted is not None and found != wanted:
            raise EngineMissingError(
                f"stages.diarize.sha256: the folder {self.spec.model!r} has the digest {found}, "
                f"wanted {wanted}; somebody changed it, or it is another one"
            )
        if wanted is not None:
            return
        try:
            check_pipeline_folder(folder)
        except EngineMissingError as error:
            raise EngineMissingError(
                f"stages.diarize.model: {error}. If you know where this folder comes from, say "
                f"stages.diarize.sha256={found} and it is opened as it is; else {_HOW}"
            ) from error

    def process(self, recording: Recording) -> Verdict:
        audio = recording.audio
        rate_hz = audio.sample_rate_hz
        speech: list[Span] = recording.values["speech"]
        found: list[list[tuple[int, int, int]]] = []
        means: list[Floats] = []
        weights: list[Floats] = []
        for group in stretches(speech, round(self.spec.stretch_hours * 3600 * rate_hz)):
            origin, end = group[0].start_sample, group[-1].end_sample
            heard, vectors = self._diarize(audio.cut(origin, end, RATE_HZ), origin, end, rate_hz)
            if heard:
                found.append(heard)
                means.append(vectors)
                weights.append(_seconds(heard, len(vectors), rate_hz))
        numbers: list[list[int]] = []
        if means:
            numbers = link_speakers(comparable(means), weights, self.spec.max_distance)
        turns = name_turns(
            (start, end, numbers[stretch][speaker])
            for stretch, part in enumerate(found)
            for start, end, speaker in part
        )
        return Keep(
            {
                "turns": turns,
                "num_speakers": len({turn.speaker for turn in turns}),
                "overlap_s": overlap_samples(turns) / rate_hz,
            }
        )

    def _diarize(
        self, samples: Floats, origin: int, end: int, rate_hz: int
    ) -> tuple[list[tuple[int, int, int]], Floats]:
        """Turns `(start_sample, end_sample, speaker)` on the timeline, and a vector per speaker."""
        import torch

        if self._pipeline is None:
            raise RuntimeError("process() before open()")
        # In memory, so that no file of ours is decoded a second time; a copy, because the samples
        # are shared and read-only.
        waveform = torch.from_numpy(np.array(samples, np.float32))[None]
        limits = {
            name: value
            for name, value in (
                ("min_speakers", self.spec.min_speakers),
                ("max_speakers", self.spec.max_speakers),
            )
            if value is not None
        }
        try:
            output = self._pipeline({"waveform": waveform, "sample_rate": RATE_HZ}, **limits)
        except (RuntimeError, ValueError, IndexError) as error:
            raise ItemError("ENGINE_ERROR", f"pyannote.audio failed: {error}") from error
        annotation = output.speaker_diarization
        labels = annotation.labels()
        turns = []
        for segment, _, label in annotation.itertracks(yield_label=True):
            # Its last window is padded, so a turn may reach past the stretch.
            stop = min(origin + round(segment.end * rate_hz), end)
            start = max(origin + round(segment.start * rate_hz), origin)
            if stop > start:
                turns.append((start, stop, labels.index(label)))
        vectors = np.full((len(labels), 1), np.nan)
        if output.speaker_embeddings is not None:
            vectors = np.asarray(output.speaker_embeddings, np.float64)[: len(labels)]
        return turns, vectors


def _seconds(turns: Sequence[tuple[int, int, int]], num_speakers: int, rate_hz: int) -> Floats:
    seconds = np.full(num_speakers, 1e-3)  # a speaker whose turns were all cut away weighs nothing
    for start, end, speaker in turns:
        seconds[speaker] += (end - start) / rate_hz
    return seconds


def comparable(means: Sequence[Floats]) -> list[Floats]:
    """Unit vectors of the speakers of every stretch, all of one width.

    A speaker without a usable embedding (silent, not finite, missing) gets a direction that nobody
    else has, so that it is linked with nobody.
    """
    width = max(rows.shape[1] for rows in means)
    apart = sum(len(rows) for rows in means)
    next_axis = width
    made: list[Floats] = []
    for rows in means:
        vectors = np.zeros((len(rows), width + apart))
        for speaker, row in enumerate(rows):
            length = float(np.linalg.norm(row))
            if np.isfinite(length) and length > 0:
                vectors[speaker, : rows.shape[1]] = row / length
            else:
                vectors[speaker, next_axis] = 1.0
            next_axis += 1
        made.append(vectors)
    return made
