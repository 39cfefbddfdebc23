"""A mono waveform that can be had at any rate, resampled once per rate."""

import numpy as np

from schemas.codes import Waveform
from schemas.errors import ItemError


class Audio:
    """Samples of one recording, shape `[num_samples]`, read-only, float32 in about [-1, 1]."""

    def __init__(self, samples: Waveform, sample_rate_hz: int) -> None:
        if samples.ndim != 1 or samples.dtype != np.float32:
            raise ItemError(
                "DECODE_ERROR",
                f"audio has shape {samples.shape} and type {samples.dtype}; "
                "wanted one dimension of float32",
            )
        self.sample_rate_hz = sample_rate_hz
        samples = samples.view()
        samples.flags.writeable = False  # stages share it: nobody may write into it
        self._at = {sample_rate_hz: samples}

    @property
    def samples(self) -> Waveform:
        return self._at[self.sample_rate_hz]

    @property
    def num_samples(self) -> int:
        return self.samples.shape[0]

    @property
    def duration_s(self) -> float:
        return self.num_samples / self.sample_rate_hz

    def at(self, rate_hz: int) -> Waveform:
        """The whole recording at `rate_hz`; the first call resamples, later ones are free."""
        if rate_hz not in self._at:
            from stages.resample_blocks import resample_in_blocks

            # In blocks, because resampled whole an hour takes gigabytes beside itself.
            samples = resample_in_blocks(self.samples, self.sample_rate_hz, rate_hz)
            samples.flags.writeable = False
            self._at[rate_hz] = samples
        return self._at[rate_hz]

    def cut(self, start_sample: int, end_sample: int, rate_hz: int | None = None) -> Waveform:
        """A span of this recording's own timeline, at `rate_hz` (or its own rate). A view."""
        rate_hz = rate_hz or self.sample_rate_hz
        scale = rate_hz / self.sample_rate_hz
        return self.at(rate_hz)[round(start_sample * scale) : round(end_sample * scale)]
