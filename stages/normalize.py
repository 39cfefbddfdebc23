"""One timeline for all recordings: mono at 24 kHz, at -23 LUFS, below a true-peak ceiling."""

from importlib.metadata import version
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from schemas.errors import ItemError
from schemas.verdict import Keep, Verdict
from stages.audio import Audio
from stages.base import Recording, RecordingStage, Resources, StageSpec
from stages.loudness import integrated_loudness_lufs, true_peak_dbtp
from stages.resample_blocks import resample_in_blocks


class Bs1770Normalize(RecordingStage):
    """Resamples, measures loudness after BS.1770, and applies one gain to the whole recording.

    The gain is the one that reaches the target, or the largest that keeps the true peak below the
    ceiling: nothing is ever compressed or clipped. What has no loudness (under 0.4 s, or nothing
    above -70 LUFS) is left as it is, with a null loudness and a gain of 0.
    """

    class Spec(StageSpec):
        sample_rate_hz: Literal[24_000] = 24_000
        """What the tokenizer takes; every position in the tables is a sample of this rate."""
        target_lufs: float = Field(default=-23.0, ge=-50, le=-5)  # EBU R 128
        max_true_peak_dbtp: float = Field(default=-1.0, ge=-20, le=0)  # EBU R 128
        max_gain_db: float = Field(default=40.0, ge=0, le=80)
        """More than this lifts the noise of a recording that is nearly empty."""

    name: ClassVar[str] = "normalize"
    engine: ClassVar[str] = "bs1770"
    reads: ClassVar[frozenset[str]] = frozenset({"audio"})
    writes: ClassVar[frozenset[str]] = frozenset(
        {
            "audio",
            "sample_rate_hz",
            "num_samples",
            "duration_s",
            "loudness_lufs",
            "true_peak_dbtp",
            "gain_db",
        }
    )
    speed_x_real_time: ClassVar[float] = 500.0
    spec: Spec

    def describe(self) -> str:
        return f"bs1770 (torchaudio {version('torchaudio')}, pyloudnorm {version('pyloudnorm')})"

    def resources(self) -> Resources:
        return Resources(memory_mb=800)

    def process(self, recording: Recording) -> Verdict:
        source = recording.audio
        rate_hz = self.spec.sample_rate_hz
        samples = resample_in_blocks(source.samples, source.sample_rate_hz, rate_hz)
        if samples.shape[0] == 0:
            raise ItemError("TOO_SHORT", "the recording has no samples; wanted at least one")
        loudness_lufs = integrated_loudness_lufs(samples, rate_hz)
        peak_dbtp = true_peak_dbtp(samples)
        gain_db = 0.0
        if loudness_lufs is not None and peak_dbtp is not None:
            gain_db = min(
                self.spec.target_lufs - loudness_lufs,
                self.spec.max_true_peak_dbtp - peak_dbtp,
                self.spec.max_gain_db,
            )
            samples *= np.float32(10 ** (gain_db / 20))
        audio = Audio(samples, rate_hz)
        return Keep(
            {
                "audio": audio,
                "sample_rate_hz": rate_hz,
                "num_samples": audio.num_samples,
                "duration_s": audio.duration_s,
                "loudness_lufs": loudness_lufs,
                "true_peak_dbtp": peak_dbtp,
                "gain_db": gain_db,
            }
        )
