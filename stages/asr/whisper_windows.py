"""What Whisper is fed with: 30-s windows of log-mel features, one per segment."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.codes import Waveform
from schemas.spans import Span
from stages.base import Recording, Segment

RATE_HZ = 16_000
WINDOW_S = 30
HOPS_PER_S = 100
NUM_HOPS = WINDOW_S * HOPS_PER_S

Features = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of at most 30 s of a segment, in samples of the recording's timeline."""

    segment_index: int
    """Position of its segment in the batch."""
    start_sample: int
    end_sample: int
    samples: Waveform
    """The same stretch at 16 kHz."""

    @property
    def duration_s(self) -> float:
        return len(self.samples) / RATE_HZ

    @property
    def num_hops(self) -> int:
        return min(-(-len(self.samples) * HOPS_PER_S // RATE_HZ), NUM_HOPS)


def windows_of(segment_index: int, segment: Segment) -> list[Window]:
    """The segment as one window, or as several of equal length if it is longer than 30 s."""
    num_samples = segment.end_sample - segment.start_sample
    num_windows = max(1, -(-num_samples // (WINDOW_S * segment.sample_rate_hz)))
    edges = np.linspace(segment.start_sample, segment.end_sample, num_windows + 1).round()
    audio = segment.recording.audio
    return [
        Window(segment_index, int(start), int(end), audio.cut(int(start), int(end), RATE_HZ))
        for start, end in itertools.pairwise(edges)
    ]


def whisper_features(samples: Waveform, extractor: Any) -> Features:
    """Log-mel of the samples followed by silence, shape `[num_mels, 3000]`.

    Equal to the extractor's features of audio that was padded to 30 s, at the price of the audio
    alone: hops of digital silence sit on the floor that Whisper puts 8 below the loudest bin.
    """
    samples = samples[: WINDOW_S * RATE_HZ]
    silence = np.zeros(min(2 * extractor.n_fft, WINDOW_S * RATE_HZ - len(samples)), np.float32)
    features: Features = extractor(np.concatenate([samples, silence]), padding=extractor.n_fft)
    features = features[:, : min(features.shape[1], NUM_HOPS)]
    loudest = 4 * float(features.max()) - 4
    floor = (max(loudest - 8.0, -10.0) + 4) / 4
    padding = NUM_HOPS - features.shape[1]
    return np.pad(features, ((0, 0), (0, padding)), constant_values=floor).astype(np.float32)


def speech_windows(recording: Recording, num_windows: int) -> list[Waveform]:
    """Stretches of up to 30 s at 16 kHz, spread evenly over the recording's speech."""
    spans: Sequence[Span] = recording.values["speech"]
    audio = recording.audio
    lengths = np.array([span.num_samples for span in spans])
    if lengths.sum() == 0:
        return []
    length = WINDOW_S * audio.sample_rate_hz
    starts = set()
    for index in range(num_windows):
        spoken_before = (index / num_windows) * lengths.sum()
        at = int(np.searchsorted(np.cumsum(lengths), spoken_before, side="right"))
        into_span = spoken_before - lengths[:at].sum()
        starts.add(int(spans[at].start_sample + into_span))
    return [
        audio.cut(start, min(start + length, audio.num_samples), RATE_HZ)
        for start in sorted(starts)
    ]
