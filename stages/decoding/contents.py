"""What a pass over an audio file found, as one process tells it to another."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le, MaxLen

HIGHEST_RATE_HZ = 768_000
MOST_STRETCHES = 1000
"""A file that changes its format more often than this is no recording."""

_Count = Annotated[int, Ge(0)]
_Name = Annotated[str, MaxLen(200)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What may come out of one file, whatever its header says."""

    max_s: float
    max_bytes: int
    """Of mono float32."""
    max_channels: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """Samples in a row that had one rate and one number of channels, mixed to mono."""

    sample_rate_hz: Annotated[int, Ge(1), Le(HIGHEST_RATE_HZ)]
    channels: Annotated[int, Ge(1)]
    num_samples: _Count
    downmix: _Name
    """`mono`, `mean` or `channel:N`."""
    num_nonfinite: _Count
    """Moments at which some channel held no number."""
    num_lost: _Count
    """Moments at which none did."""

    @property
    def seconds(self) -> float:
        return self.num_samples / self.sample_rate_hz


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """Facts of a pass; its samples stand behind each other, stretch by stretch, somewhere else."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "allow_inf_nan": False}

    container: _Name
    codec: _Name
    claimed_s: float | None
    """Seconds that the header promises; None where it does not say."""
    tolerance_s: Annotated[float, Ge(0)]
    """How far the decoded length of this codec may lie from the promise."""
    num_errors: _Count
    ends_inside_page: bool
    bytes_of_other_audio: _Count
    """Behind the samples stands another audio file of so many bytes; it was not read."""
    bytes_of_no_chunk: _Count
    """Behind the samples that the header states stand so many bytes that nothing announces."""
    stretches: Annotated[tuple[Stretch, ...], MaxLen(MOST_STRETCHES)]

    @property
    def num_samples(self) -> int:
        return sum(stretch.num_samples for stretch in self.stretches)

    def beyond(self, limits: Limits) -> bool:
        """Whether this is more than may come out of one file."""
        return (
            self.num_samples * 4 > limits.max_bytes
            or math.fsum(stretch.seconds for stretch in self.stretches) > limits.max_s
            or any(stretch.channels > limits.max_channels for stretch in self.stretches)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a decoder says of a file: one of three."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    contents: Contents | None = None
    failed: tuple[str, str] | None = None
    """Error class and sentence of an `ItemError`."""
    unforeseen: str | None = None
    """Traceback of any other exception."""
