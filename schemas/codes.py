"""What the pipeline needs of a tokenizer, so that it need not import one."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Waveform = npt.NDArray[np.float32]
"""Mono samples in [-1, 1], shape `[num_samples]`."""
Codes = npt.NDArray[np.uint16]
"""Shape `[num_frames, num_codebooks]`."""


@runtime_checkable
class FrameEncoder(Protocol):
    """Waveforms to codes and back. A clip's codes do not depend on what it is batched with."""

    @property
    def sample_rate_hz(self) -> int: ...
    @property
    def frame_rate_hz(self) -> int: ...
    @property
    def samples_per_frame(self) -> int: ...
    @property
    def num_codebooks(self) -> int: ...
    @property
    def codebook_sizes(self) -> tuple[int, ...]: ...

    def fingerprint(self) -> str:
        """Canonical JSON of all that decides codes: weights hash, layers, segmentation, dtype."""

    def encode_numpy(self, waveforms: Sequence[Waveform], num_codebooks: int) -> list[Codes]:
        """Codes of each waveform, in order."""

    def decode_numpy(self, codes: Codes) -> Waveform:
        """Waveform of `num_frames * samples_per_frame` samples."""
