"""Where somebody speaks."""

import os
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from schemas.codes import Waveform
from schemas.errors import EngineMissingError, ItemError
from schemas.spans import Span
from schemas.verdict import Drop, Keep, Verdict
from stages.base import Recording, RecordingStage, Resources, StageSpec
from stages.weights import files_digest, package_folder

RATE_HZ = 16_000


def weights_path() -> Path:
    """The sequence model in the installed package; raises `EngineMissingError` without it."""
    path = (package_folder("silero_vad") or Path()) / "data" / "silero_vad_16k_sequence.onnx"
    if not path.is_file():
        raise EngineMissingError(
            f"stages.vad: engine 'silero' needs the package 'silero-vad' with its {path.name}, "
            "which is not there; install silero-vad 6.2.3 again"
        )
    return path


class SileroVad(RecordingStage):
    """silero-vad's sequence model: 16 s of audio per ONNX call, the state carried between calls.

    The state lives in the call, so threads may share an opened stage. Silence longer than
    `min_silence_ms` ends a span; spans never overlap.
    """

    class Spec(StageSpec):
        threshold: float = Field(default=0.5, gt=0, lt=1)
        """Probability from which a 32-ms window counts as speech; it ends 0.15 below."""
        min_speech_ms: int = Field(default=250, ge=32, le=5_000)
        min_silence_ms: int = Field(default=100, ge=32, le=5_000)
        speech_pad_ms: int = Field(default=30, ge=0, le=1_000)
        """Added on both sides of a span, as far as the silence around it reaches."""
        min_total_speech_s: float = Field(default=0.5, ge=0, le=60)
        """Recordings with less speech than this are dropped as `no_speech`."""

    name: ClassVar[str] = "vad"
    engine: ClassVar[str] = "silero"
    reads: ClassVar[frozenset[str]] = frozenset({"audio"})
    writes: ClassVar[frozenset[str]] = frozenset({"speech", "speech_s"})
    speed_x_real_time: ClassVar[float] = 400.0
    spec: Spec

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self._path = weights_path()
        self._model: Any = None

    @cached_property
    def _digest(self) -> str:
        return files_digest(self._path)

    def describe(self) -> str:
        return f"silero-vad {version('silero-vad')} {self._digest}"

    def resources(self) -> Resources:
        return Resources(memory_mb=600)

    def open(self) -> None:
        import torch

        num_threads = torch.get_num_threads()
        # Before the import, which brings onnxruntime: that reports to its maker otherwise.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        from silero_vad import load_silero_vad

        torch.set_num_threads(num_threads)  # importing silero-vad sets 1 for the whole process
        self._model = load_silero_vad(sequence=True)

    def close(self) -> None:
        self._model = None

    def process(self, recording: Recording) -> Verdict:
        audio = recording.audio
        spans = self._speech(audio.at(RATE_HZ), audio.sample_rate_hz, audio.num_samples)
        speech_s = sum(span.num_samples for span in spans) / audio.sample_rate_hz
        if not spans or speech_s < self.spec.min_total_speech_s:
            return Drop(
                "no_speech",
                measured=speech_s,
                limit=self.spec.min_total_speech_s,
                values={"speech_s": speech_s},
            )
        return Keep({"speech": spans, "speech_s": speech_s})

    def _speech(self, samples: Waveform, timeline_hz: int, num_samples: int) -> list[Span]:
        """Spans in samples of the timeline, from 16-kHz samples."""
        from silero_vad import get_speech_timestamps_sequence

        if not np.isfinite(samples).all():
            # Ten NaN turn nearly every window into "no speech", without an error.
            raise ItemError(
                "NONFINITE", "the audio holds NaN or infinite samples; decode it with stages.decode"
            )
        found = get_speech_timestamps_sequence(
            samples,
            self._model,
            threshold=self.spec.threshold,
            sampling_rate=RATE_HZ,
            min_speech_duration_ms=self.spec.min_speech_ms,
            min_silence_duration_ms=self.spec.min_silence_ms,
            speech_pad_ms=self.spec.speech_pad_ms,
        )
        scale = timeline_hz / RATE_HZ
        spans = []
        for item in found:
            start, end = round(item["start"] * scale), round(item["end"] * scale)
            span = Span(start, min(end, num_samples))
            if span.num_samples > 0:
                spans.append(span)
        return spans
