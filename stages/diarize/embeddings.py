"""Speaker turns from embeddings of short windows: works on a fresh machine, without a download."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import version
from typing import ClassVar

import numpy as np
from pydantic import Field

from schemas.spans import Span
from schemas.verdict import Keep, Verdict
from stages.base import Recording, RecordingStage, Resources, StageSpec
from stages.diarize.clustering import Floats, find_speakers, follow_speakers, link_speakers, unit
from stages.diarize.speaker_encoder import (
    HOP_SAMPLES,
    RATE_HZ,
    WINDOW_HOPS,
    SpeakerEncoder,
    weights_path,
)
from stages.diarize.turns import name_turns, overlap_samples, stretches
from stages.weights import files_digest

WINDOW_S = WINDOW_HOPS * HOP_SAMPLES / RATE_HZ
CELL_S = 0.1
"""Turns change at multiples of this within a span of speech."""
_CLUSTER_EVERY_S = 0.8
"""Windows this far apart are clustered (half a window): closer ones say the same again."""


class EmbeddingDiarizer(RecordingStage):
    """GE2E embeddings of 1.6-s windows, clustered, and a path that is slow to change speaker.

    It gives every moment of speech to exactly one speaker, so its turns never overlap and
    `overlap_s` is 0: a second voice under the first is not seen. Memory is bounded by
    `stretch_minutes`; speakers of different stretches are linked by their mean embeddings.
    """

    class Spec(StageSpec):
        hop_ms: int = Field(default=400, ge=100, le=1_600)
        """From one embedding to the next."""
        max_difference: float = Field(default=0.06, gt=0, lt=1)
        """How far apart the mean embeddings of one speaker may be (see `clustering`)."""
        min_speaker_s: float = Field(default=2.0, ge=0, le=60)
        """Who speaks less than this in a stretch is given to the most similar other speaker."""
        max_speakers: int = Field(default=20, ge=1, le=100)
        switch_penalty: float = Field(default=0.5, ge=0, le=10)
        """Gain in summed similarity (per 0.1 s) that a change of speaker must bring."""
        stretch_minutes: float = Field(default=5.0, ge=1, le=60)
        """Speakers are told apart in stretches of this length, then linked. Longer ones split
        voices: 21 minutes of a dialogue of four, repeated with other speeds and noise, come out as
        4 speakers in stretches of 5 minutes, 8 in those of 10 and 13 in one piece."""

    name: ClassVar[str] = "diarize"
    engine: ClassVar[str] = "embeddings"
    reads: ClassVar[frozenset[str]] = frozenset({"audio", "speech"})
    writes: ClassVar[frozenset[str]] = frozenset({"turns", "num_speakers", "overlap_s"})
    speed_x_real_time: ClassVar[float] = 90.0
    spec: Spec

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self._path = weights_path()
        self._encoder: SpeakerEncoder | None = None

    @cached_property
    def _digest(self) -> str:
        return files_digest(self._path)

    def describe(self) -> str:
        return f"embeddings (resemblyzer {version('resemblyzer')} GE2E {self._digest})"

    def resources(self) -> Resources:
        return Resources(memory_mb=900)

    def open(self) -> None:
        self._encoder = SpeakerEncoder()

    def close(self) -> None:
        self._encoder = None

    def process(self, recording: Recording) -> Verdict:
        audio = recording.audio
        speech: list[Span] = recording.values["speech"]
        groups = stretches(speech, round(self.spec.stretch_minutes * 60 * audio.sample_rate_hz))
        local: list[list[tuple[int, int, int]]] = []
        means: list[Floats] = []
        with _one_torch_thread():
            for group in groups:
                start, end = group[0].start_sample, group[-1].end_sample
                samples = audio.cut(start, end, RATE_HZ)
                found, rows = self._diarize(samples, group, audio.sample_rate_hz)
                local.append(found)
                means.append(rows)
        num_samples = [
            _samples_of_speakers(found, len(rows)) for found, rows in zip(local, means, strict=True)
        ]
        numbers = link_speakers(means, num_samples, self.spec.max_difference)
        turns = name_turns(
            (start, end, numbers[stretch][speaker])
            for stretch, found in enumerate(local)
            for start, end, speaker in found
        )
        return Keep(
            {
                "turns": turns,
                "num_speakers": len({turn.speaker for turn in turns}),
                "overlap_s": overlap_samples(turns) / audio.sample_rate_hz,
            }
        )

    def _diarize(
        self, samples: Floats, speech: Sequence[Span], rate_hz: int
    ) -> tuple[list[tuple[int, int, int]], Floats]:
        """Turns `(start_sample, end_sample, speaker)` of one stretch, and the speakers' means.

        `samples` are the stretch at 16 kHz; the spans lie on the whole timeline.
        """
        if self._encoder is None:
            raise RuntimeError("process() before open()")
        spec = self.spec
        origin = speech[0].start_sample
        hop = spec.hop_ms / 1000 * rate_hz
        centres = [_evenly(span, hop) for span in speech]  # samples of the timeline
        all_centres = np.concatenate(centres)
        hops = np.round((all_centres - origin) / rate_hz * RATE_HZ / HOP_SAMPLES).astype(np.int64)
        mel = self._encoder.mel(samples)
        embeddings = self._encoder.embed(mel, np.minimum(hops, mel.shape[0] - 1))
        every = max(1, round(_CLUSTER_EVERY_S * 1000 / spec.hop_ms))
        speakers = find_speakers(
            embeddings[::every],
            max_difference=spec.max_difference,
            min_windows=round(spec.min_speaker_s * 1000 / (spec.hop_ms * every)),
            max_speakers=spec.max_speakers,
            lag=math.ceil(WINDOW_S * 1000 / (spec.hop_ms * every)),
        )
        similarity = embeddings @ unit(speakers).T
        cells, gaps_s, cell_similarity = [], [], []
        at, previous_end = 0, speech[0].start_sample
        for span, span_centres in zip(speech, centres, strict=True):
            of_span = similarity[at : at + span_centres.shape[0]]
            at += span_centres.shape[0]
            edges = _edges(span, CELL_S * rate_hz)
            middles = (edges[:-1] + edges[1:]) / 2
            cell_similarity.append(
                np.stack([np.interp(middles, span_centres, column) for column in of_span.T], axis=1)
            )
            gaps_s += [(span.start_sample - previous_end) / rate_hz] + [0.0] * (len(middles) - 1)
            cells += list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
            previous_end = span.end_sample
        path = follow_speakers(
            np.concatenate(cell_similarity), np.array(gaps_s), spec.switch_penalty
        )
        return _join(cells, path.tolist()), speakers


def _evenly(span: Span, hop: float) -> Floats:
    """Centres of windows that share a span evenly, about `hop` apart; at least one."""
    num = max(1, round(span.num_samples / hop))
    return span.start_sample + (np.arange(num) + 0.5) * span.num_samples / num


def _edges(span: Span, cell: float) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    num = max(1, round(span.num_samples / cell))
    edges = np.linspace(span.start_sample, span.end_sample, num + 1).round().astype(np.int64)
    return np.unique(edges)


def _join(cells: list[tuple[int, int]], speakers: list[int]) -> list[tuple[int, int, int]]:
    """Neighbouring cells of one speaker as one turn; a silence between them ends it."""
    turns: list[tuple[int, int, int]] = []
    for (start, end), speaker in zip(cells, speakers, strict=True):
        if turns and turns[-1][1] == start and turns[-1][2] == speaker:
            turns[-1] = (turns[-1][0], end, speaker)
        else:
            turns.append((start, end, speaker))
    return turns


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Sums come out in another order on more threads; a close call must not depend on that."""
    import torch

    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


def _samples_of_speakers(turns: list[tuple[int, int, int]], num_speakers: int) -> Floats:
    samples = np.zeros(num_speakers)
    for start, end, speaker in turns:
        samples[speaker] += end - start
    return samples
