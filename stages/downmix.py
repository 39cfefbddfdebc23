"""Channels to one channel, without losing a voice to a dead or a phase-inverted channel."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from schemas.codes import Waveform

DEAD_BELOW_DB = -60.0
"""A channel this far below the loudest one carries nothing but its own noise floor."""
CANCELS_BELOW_DB = -10.0
"""Mix power against what independent channels would give. In phase is above 0, inverted far below;
two different voices are 0. Ten decibels leave room for partly inverted stereo."""
LARGEST_SAMPLE = 2.0**31
"""Float files hold [-1, 1], by mistake sometimes integers; anything larger is no sample."""

Channels = npt.NDArray[np.float32]
"""Shape `[num_channels, num_samples]`."""


def to_float(samples: npt.NDArray[np.generic], num_channels: int) -> Channels:
    """Decoder output (planar `[channels, n]` or interleaved `[1, n * channels]`) as float32.

    Integers are scaled by their full range, floats are taken as they are. A copy, or a view where
    nothing had to change.
    """
    if samples.shape[0] != num_channels:
        samples = samples.reshape(-1, num_channels).T
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - np.float32(128)) / np.float32(128)
    if np.issubdtype(samples.dtype, np.signedinteger):
        full_scale = np.float32(2.0 ** (8 * samples.dtype.itemsize - 1))
        return samples.astype(np.float32) / full_scale
    with np.errstate(over="ignore"):  # a float64 too large for float32 becomes inf, seen below
        return samples.astype(np.float32, copy=False)


@dataclass
class MonoMix:
    """Mixes to mono chunk by chunk, and keeps what is needed to judge the mix afterwards.

    With `only_channel` it takes that channel instead of the mean. `num_nonfinite` counts moments at
    which some channel held no number, `num_lost` those at which none held one.
    """

    num_channels: int
    only_channel: int | None = None
    num_samples: int = 0
    num_nonfinite: int = 0
    num_lost: int = 0
    channel_energy: npt.NDArray[np.float64] = field(init=False)
    mix_energy: float = 0.0

    def __post_init__(self) -> None:
        self.channel_energy = np.zeros(self.num_channels)

    def add(self, channels: Channels) -> Waveform:
        """Mono samples of a chunk; what is NaN, infinite or absurdly large becomes 0 and counts."""
        # One reduction instead of a mask: the peak is NaN or too large if any sample is.
        peak = max(float(channels.max()), -float(channels.min()))
        if not peak <= LARGEST_SAMPLE:
            wrong = ~(np.abs(channels) <= LARGEST_SAMPLE)
            self.num_nonfinite += int(wrong.any(axis=0).sum())
            self.num_lost += int(wrong.all(axis=0).sum())
            channels = np.where(wrong, np.float32(0), channels)
        if self.num_channels == 1:
            mono = channels[0]
        else:
            self.channel_energy += np.einsum("cn,cn->c", channels, channels, dtype=np.float64)
            if self.only_channel is None:
                mono = channels.mean(axis=0, dtype=np.float32)
            else:
                mono = channels[self.only_channel]
            self.mix_energy += float(np.einsum("n,n->", mono, mono, dtype=np.float64))
        self.num_samples += mono.shape[0]
        return mono

    def better_channel(self) -> int | None:
        """The loudest channel, where the mean of them all cancels itself out; else None."""
        if self.num_channels == 1 or self.only_channel is not None:
            return None
        independent = float(self.channel_energy.sum()) / self.num_channels**2
        if self.mix_energy >= independent * 10 ** (CANCELS_BELOW_DB / 10):
            return None
        return int(self.channel_energy.argmax())

    def judged(self) -> tuple[str, float]:
        """How the samples were made (`mono`, `mean` or `channel:N`), and their missing gain.

        Dead channels shall not dilute the mean: times the gain it is one over those that live.
        """
        if self.num_channels == 1:
            return "mono", 1.0
        if self.only_channel is not None:
            return f"channel:{self.only_channel}", 1.0
        floor = self.channel_energy.max() * 10 ** (DEAD_BELOW_DB / 10)
        live = np.flatnonzero(self.channel_energy > floor)
        gain = self.num_channels / live.size if live.size else 1.0
        return f"channel:{live[0]}" if live.size == 1 else "mean", gain
