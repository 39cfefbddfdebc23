"""A sketch of how a recording sounds, for finding the same sound under another encoding.

Landmarks as in A. Wang, "An Industrial-Strength Audio Search Algorithm", ISMIR 2003: the strongest
peaks of a spectrogram are paired with a few that follow, and a pair (two frequencies and the time
between them) is one element of a set. Codecs, levels and channels move few peaks, so the sets of
two encodings of one sound share many elements, and those of different sounds next to none. A
MinHash of the set keeps an estimate of that share (Jaccard) in a fixed size.
"""

from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from schemas.codes import Waveform
from schemas.verdict import Keep, Verdict
from stages.base import Recording, RecordingStage, StageSpec

RATE_HZ = 8000
"""Telephone bandwidth: what every encoding of a recording still has."""
WINDOW = 512
HOP = 160  # 20 ms
NEIGHBOUR_HOPS, NEIGHBOUR_BINS = 9, 11
"""A peak is the largest value within so many hops and bins around it."""
PEAKS_PER_SECOND = 12
PARTNERS = 5
MIN_GAP_HOPS, MAX_GAP_HOPS = 3, 63
MIN_LANDMARKS = 64
"""Fewer (about two seconds of speech) say too little: such a recording has an empty sketch."""
_BLOCK_S = 120
MINHASH_SCHEME = "affine32"
"""Permutations of datasketch; it mixes the landmarks itself, so they need no hash of their own."""


class LandmarkFingerprint(RecordingStage):
    """MinHash of spectral landmarks; empty for what is too short or too quiet to have any."""

    class Spec(StageSpec):
        """Parameters of the sketch."""

        num_values: int = Field(default=128, ge=16, le=1024)
        """MinHash values: the error of an estimated share is about 1 / sqrt of it."""

    spec: Spec
    name, engine = "fingerprint", "landmarks"
    reads: ClassVar = frozenset({"audio"})
    writes: ClassVar = frozenset({"sketch"})
    speed_x_real_time = 800.0

    def describe(self) -> str:
        return f"landmarks 1 (MinHash {self.spec.num_values})"

    def process(self, recording: Recording) -> Verdict:
        found = landmarks(recording.audio.at(RATE_HZ))
        return Keep({"sketch": sketch(found, self.spec.num_values)})


def landmarks(samples: Waveform) -> npt.NDArray[np.uint32]:
    """Distinct landmarks of mono samples at 8 kHz: 9 bits each for two bins, 6 for the gap."""
    times, bins = _peaks(samples)
    pairs = []
    for step in range(1, PARTNERS * 4):
        if step >= len(times):
            break
        gap = times[step:] - times[:-step]
        near = (gap >= MIN_GAP_HOPS) & (gap <= MAX_GAP_HOPS)
        # A gap is told to 40 ms, because another encoder may begin half a hop later.
        pair = (bins[:-step] << 15) | (bins[step:] << 6) | (gap >> 1)
        pairs.append(np.stack([np.arange(len(gap))[near], pair[near]]))
    if not pairs:
        return np.zeros(0, np.uint32)
    first, values = np.concatenate(pairs, axis=1)
    # Only the nearest partners of each peak; a stable sort keeps them in order of time.
    order = np.argsort(first, kind="stable")
    first, values = first[order], values[order]
    starts = np.searchsorted(first, first)
    return np.unique(values[np.arange(len(first)) - starts < PARTNERS]).astype(np.uint32)


def sketch(found: npt.NDArray[np.uint32], num_values: int) -> list[int]:
    """MinHash values below 2^32 of a set of landmarks; empty if there are too few."""
    if len(found) < MIN_LANDMARKS:
        return []
    from datasketch import MinHash

    minhash = MinHash(num_perm=num_values, scheme=MINHASH_SCHEME, hashfunc=int)
    minhash.update_batch(found)
    return [int(value) for value in minhash.hashvalues]


def _peaks(samples: Waveform) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Hops and bins of the strongest local maxima, in order of time, block by block."""
    block = _BLOCK_S * RATE_HZ
    parts = [_peaks_of(samples[start : start + block]) for start in range(0, len(samples), block)]
    offsets = np.arange(len(parts)) * (block // HOP)
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    times = np.concatenate([t + offset for (t, _), offset in zip(parts, offsets, strict=True)])
    return times, np.concatenate([b for _, b in parts])


def _peaks_of(samples: Waveform) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    from scipy.ndimage import maximum_filter

    empty = np.zeros(0, np.int64)
    if len(samples) < WINDOW:
        return empty, empty
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW), axis=1)) ** 2
    level = np.log(power + 1e-10)
    level[:, :4] = level.min()  # below 60 Hz: hum and high-pass filters, not the sound
    highest = maximum_filter(level, size=(NEIGHBOUR_HOPS, NEIGHBOUR_BINS)) == level
    times, bins = np.nonzero(highest & (level > level.max() - 14.0))  # within 60 dB of the loudest
    budget = int(len(samples) / RATE_HZ * PEAKS_PER_SECOND)
    if len(times) > budget:
        loudest = np.sort(np.argsort(-level[times, bins], kind="stable")[:budget])
        times, bins = times[loudest], bins[loudest]
    return times.astype(np.int64), bins.astype(np.int64)
