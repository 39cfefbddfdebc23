"""Any audio file to mono float32 at its own rate, with every sign of damage written down."""

import os
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from schemas.errors import ItemError
from schemas.verdict import Keep, Verdict
from stages.audio import Audio
from stages.base import Recording, RecordingStage, Resources, StageSpec
from stages.decoding.contents import Limits
from stages.decoding.decoded import Decoded, judged
from stages.decoding.decoder import IsolatedDecoder
from stages.decoding.input_file import open_audio
from stages.decoding.samples import SampleStore, SampleWriter

WALL_S_PER_MB = 1.0
"""Added to the limit of a file's time, by its size: a hundredth of the usual speed."""


class PyavDecode(RecordingStage):
    """FFmpeg's demuxers and decoders through PyAV, whose wheel carries them, in a child process."""

    class Spec(StageSpec):
        max_hours: float = Field(default=4.0, gt=0, le=24)
        max_channels: int = Field(default=16, ge=1, le=64)
        max_decoded_mb: int = Field(default=4096, ge=16, le=65_536)
        """Of mono float32: keeps an 192-kHz file of hours from eating the worker."""
        wall_s_per_file: float = Field(default=600.0, ge=1, le=86_400)
        """A file that takes longer, and a second more for each of its megabytes, fails."""
        on_damage: Literal["salvage", "fail"] = "salvage"
        """Keep what is good and flag it, or fail the input."""

        def limits(self) -> Limits:
            """What may come out of one file."""
            return Limits(
                max_s=self.max_hours * 3600,
                max_bytes=self.max_decoded_mb << 20,
                max_channels=self.max_channels,
            )

    name: ClassVar[str] = "decode"
    engine: ClassVar[str] = "pyav"
    reads: ClassVar[frozenset[str]] = frozenset({"path"})
    writes: ClassVar[frozenset[str]] = frozenset(
        {
            "audio",
            "container",
            "codec",
            "source_sample_rate_hz",
            "source_channels",
            "claimed_s",
            "decoded_s",
            "decode_flags",
            "downmix",
        }
    )
    speed_x_real_time: ClassVar[float] = 600.0
    spec: Spec

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.decoder: IsolatedDecoder | None = None

    def describe(self) -> str:
        return f"pyav {version('av')}"

    def resources(self) -> Resources:
        # What an hour at 48 kHz takes; the limit is a guard for the rare file, not a claim.
        return Resources(memory_mb=300 + min(self.spec.max_decoded_mb, 512))

    def process(self, recording: Recording) -> Verdict:
        if self.decoder is None:
            self.decoder = IsolatedDecoder()
        path = Path(recording.values["path"])
        with open_audio(path) as file:
            megabytes = os.fstat(file.fileno()).st_size / 1e6
            wall_s = self.spec.wall_s_per_file + megabytes * WALL_S_PER_MB
            found = self.decoder.read(file, path.name, self.spec.limits(), wall_s=wall_s)
        decoded = judged(*found, path.name)
        if decoded.damage and self.spec.on_damage == "fail":
            error_class, sentence = next(iter(decoded.damage.items()))
            raise ItemError(error_class, sentence)
        return Keep(
            {
                "audio": Audio(decoded.samples, decoded.sample_rate_hz),
                "container": decoded.container,
                "codec": decoded.codec,
                "source_sample_rate_hz": decoded.sample_rate_hz,
                "source_channels": decoded.channels,
                "claimed_s": decoded.claimed_s,
                "decoded_s": decoded.decoded_s,
                "decode_flags": list(decoded.damage),
                "downmix": decoded.downmix,
            }
        )

    def cpu_s_elsewhere(self) -> float:
        return 0.0 if self.decoder is None else self.decoder.cpu_s()

    def close(self) -> None:
        if self.decoder is not None:
            self.decoder.close()


def decode_file(path: Path, *, max_s: float, max_bytes: int, max_channels: int) -> Decoded:
    """Decodes in this process, with nothing between it and the file: for files of one's own.

    The first audio stream, mixed to mono. Raises `ItemError` if there is none to be had.
    """
    from stages.decoding.reading import read_audio

    limits = Limits(max_s=max_s, max_bytes=max_bytes, max_channels=max_channels)
    with open_audio(path) as file, SampleStore(max_bytes) as store:
        contents = read_audio(file, path.name, limits, SampleWriter(store.fd))
        return judged(contents, store.finished(contents.num_samples), path.name)
