"""Any audio file to mono float32 at its own rate, with every sign of damage written down.

A decoder's silence proves nothing: of 18 damaged files 16 come out of FFmpeg without an error code.
So corrupt packets are stepped over and counted, and the length that came out is held against the
length that the file states.
"""

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from schemas.codes import Waveform
from schemas.errors import ItemError
from schemas.verdict import Keep, Verdict
from stages.audio import Audio
from stages.base import Recording, RecordingStage, Resources, StageSpec
from stages.downmix import MonoMix, to_float
from stages.media import (
    OPEN_OPTIONS,
    audio_kind,
    describe_bytes,
    ends_inside_ogg_page,
    first_bytes,
    foreign_kind,
    promised_over_held,
    states_length,
)
from stages.resample import resample

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 4_000, 768_000
"""Outside of this a header lies: a 128-KB WAV that claims 1 Hz would decode to 17 hours."""
_CHUNK_SAMPLES = 65_536
_PLANES_THAT_CRASH = 8
"""PyAV 18.1 counts planes up to a null pointer, and from eight on there is none: it reads one more
plane out of whatever lies behind and takes the process down. Interleaved samples are one plane."""
_EXACT_CODECS = ("pcm_", "flac", "alac", "ape", "tta", "wavpack")
_USUAL_BLOCK_SAMPLES = 2048  # WMA, Vorbis and others do not say how long their blocks are
_MAX_ERRORS_IN_A_ROW = 50  # of the demuxer: it may stand still on damage without saying so


@dataclass
class Decoded:
    """What came out of a file. `samples` are mono, shape `[num_samples]`, at `sample_rate_hz`."""

    samples: Waveform
    sample_rate_hz: int
    channels: int
    container: str
    codec: str
    claimed_s: float | None
    downmix: str
    num_errors: int = 0
    damage: dict[str, str] = field(default_factory=dict)
    """Error class to a sentence with the figures."""

    @property
    def decoded_s(self) -> float:
        return self.samples.shape[0] / self.sample_rate_hz


class PyavDecode(RecordingStage):
    """FFmpeg's demuxers and decoders through PyAV, whose wheel carries them."""

    class Spec(StageSpec):
        max_hours: float = Field(default=4.0, gt=0, le=24)
        max_channels: int = Field(default=16, ge=1, le=64)
        max_decoded_mb: int = Field(default=4096, ge=16, le=65_536)
        """Of mono float32: keeps an 192-kHz file of hours from eating the worker."""
        on_damage: Literal["salvage", "fail"] = "salvage"
        """Keep what is good and flag it, or fail the input."""

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

    def describe(self) -> str:
        return f"pyav {version('av')}"

    def resources(self) -> Resources:
        # What an hour at 48 kHz takes; the limit is a guard for the rare file, not a claim.
        return Resources(memory_mb=300 + min(self.spec.max_decoded_mb, 512))

    def process(self, recording: Recording) -> Verdict:
        decoded = decode_file(
            Path(recording.values["path"]),
            max_s=self.spec.max_hours * 3600,
            max_bytes=self.spec.max_decoded_mb << 20,
            max_channels=self.spec.max_channels,
        )
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


def decode_file(path: Path, *, max_s: float, max_bytes: int, max_channels: int) -> Decoded:
    """First audio stream of a file, mixed to mono. Raises `ItemError` if there is none to be had.

    Costs a second pass where the mean of the channels cancels itself out and one must be chosen.
    """
    _check_file(path)
    limits = _Limits(max_s, max_bytes, max_channels)
    reading = _Reading(path, limits)
    reading.run()
    chosen = {i: run.mix.better_channel() for i, run in enumerate(reading.runs)}
    if any(channel is not None for channel in chosen.values()):
        reading = _Reading(path, limits, chosen)
        reading.run()
    return reading.finish()


def _check_file(path: Path) -> None:
    """Refuses what must not even be opened: FIFOs and devices block or never end."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ItemError("UNREADABLE", f"{path.name} is no regular file; wanted an audio file")
        if status.st_size == 0:
            raise ItemError("EMPTY_FILE", f"{path.name} holds no bytes; copy it again")
        kind = foreign_kind(first_bytes(path))
    except OSError as error:
        reason = error.strerror or str(error)
        raise ItemError("UNREADABLE", f"{path.name} cannot be read: {reason}") from error
    if kind:
        raise _not_audio(path, kind)


def _not_audio(path: Path, kind: str) -> ItemError:
    return ItemError("NOT_AUDIO", f"{path.name} looks like {kind}; wanted an audio file")


def _unopenable(path: Path) -> ItemError:
    """What to say of a file that no demuxer takes."""
    head = first_bytes(path)
    kind = audio_kind(head)
    if kind is None:
        return _not_audio(path, describe_bytes(head))
    if kind == "MP4":
        return ItemError(
            "TRUNCATED",
            f"{path.name} is an MP4 file without its index (moov): the end, where that stands, is "
            "missing; copy it again from its source",
        )
    return ItemError(
        "HEADER_INVALID",
        f"{path.name} begins like {kind}, but its header cannot be read; copy it again",
    )


@dataclass(frozen=True)
class _Limits:
    max_s: float
    max_bytes: int
    max_channels: int


@dataclass
class _Run:
    """A stretch of frames of one rate and one number of channels."""

    sample_rate_hz: int
    mix: MonoMix


class _Reading:
    """One pass over a file."""

    def __init__(
        self, path: Path, limits: _Limits, channels: dict[int, int | None] | None = None
    ) -> None:
        self.path = path
        self.limits = limits
        self.channels = channels or {}
        self.runs: list[_Run] = []
        self.num_errors = 0
        self.num_samples = 0
        self.seconds = 0.0
        self.container = ""
        self.codec = ""
        self.claimed_s: float | None = None
        self.tolerance_s = 0.0

    def run(self) -> None:
        """Decodes the whole file into `runs`."""
        import av

        av.logging.set_level(av.logging.PANIC)  # what matters is counted, the rest is noise
        try:
            # "file:" keeps names such as "concat:x" or "-" from being anything but names.
            opened = av.open(
                f"file:{self.path.absolute()}",
                options=dict(OPEN_OPTIONS),
                metadata_errors="ignore",
            )
        except (av.FFmpegError, ValueError) as error:
            raise _unopenable(self.path) from error
        with opened as container:
            self.container = container.format.name
            stream = self._first_audio_stream(container)
            self._read_header(container, stream)
            self._decode(container, stream)

    def _first_audio_stream(self, container: Any) -> Any:
        if not container.streams.audio:
            kinds = sorted({s.type for s in container.streams}) or ["no streams"]
            raise ItemError(
                "NO_AUDIO_STREAM",
                f"{self.path.name} ({self.container}) holds {', '.join(kinds)} but no audio",
            )
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise ItemError(
                "UNSUPPORTED_CODEC",
                f"{self.path.name} ({self.container}) holds audio in a codec that FFmpeg cannot "
                "decode; convert it to FLAC or WAV",
            )
        return stream

    def _read_header(self, container: Any, stream: Any) -> None:
        context = stream.codec_context
        self.codec = context.name
        rate_hz, num_channels = context.sample_rate, context.channels
        if rate_hz and not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
            raise ItemError(
                "HEADER_INVALID",
                f"{self.path.name} states {rate_hz} Hz; wanted {LOWEST_RATE_HZ} to "
                f"{HIGHEST_RATE_HZ} Hz",
            )
        self._check_channels(num_channels)
        if states_length(self.container, self.path):
            self.claimed_s = _stated_length_s(container, stream)
            if self.claimed_s is not None:
                self.claimed_s *= promised_over_held(self.path)
        self.tolerance_s = 0.02
        if not self.codec.startswith(_EXACT_CODECS) and rate_hz:
            # Others cut to whole blocks and add a delay; three cover encoder and decoder.
            self.tolerance_s += 3 * (context.frame_size or _USUAL_BLOCK_SAMPLES) / rate_hz

    def _check_channels(self, num_channels: int) -> None:
        if num_channels > self.limits.max_channels:
            raise ItemError(
                "TOO_MANY_CHANNELS",
                f"{self.path.name} has {num_channels} channels; wanted at most "
                f"{self.limits.max_channels} (stages.decode.max_channels)",
            )

    def _decode(self, container: Any, stream: Any) -> None:
        context = stream.codec_context
        context.thread_count = 1  # workers are processes; threads would only compete
        if context.name == "flac":
            # Its blocks carry checksums; without this a flipped bit comes out as a burst of noise.
            context.options = {"err_detect": "crccheck+explode"}
        pending: list[npt.NDArray[np.generic]] = []
        pending_samples = 0
        layout: tuple[str, int, int] | None = None
        interleave = _interleaver()
        for frame in self._frames(container, stream):
            found = (frame.format.name, frame.layout.nb_channels, frame.rate)
            if found != layout or pending_samples >= _CHUNK_SAMPLES:
                self._flush(pending, layout)
                pending_samples = 0
                if found != layout:
                    interleave = _interleaver()
                layout = found
            if frame.format.is_planar and found[1] >= _PLANES_THAT_CRASH:
                pending.extend(packed.to_ndarray() for packed in interleave(frame))
            else:
                pending.append(frame.to_ndarray())
            pending_samples += frame.samples
        self._flush(pending, layout)

    def _frames(self, container: Any, stream: Any) -> Iterator[Any]:
        """Frames of all packets that decode; the others are counted and stepped over."""
        import av

        context = stream.codec_context
        errors_in_a_row = 0
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                errors_in_a_row = 0
            except av.FFmpegError:
                self.num_errors += 1
                errors_in_a_row += 1
                if errors_in_a_row >= _MAX_ERRORS_IN_A_ROW:
                    break
                packets = container.demux(stream)  # the generator is spent, the file is not
                continue
            if packet.size == 0:
                continue  # PyAV marks the end with empty packets; the decoder is drained below
            try:
                yield from context.decode(packet)
            except EOFError:
                # A chained file ended one stream and begins another.
                context.flush_buffers()
                self.num_errors += 1
            except av.FFmpegError:
                self.num_errors += 1
        try:
            yield from context.decode(None)
        except (av.FFmpegError, EOFError):
            self.num_errors += 1

    def _flush(
        self, pending: list[npt.NDArray[np.generic]], layout: tuple[str, int, int] | None
    ) -> None:
        if not pending or layout is None:
            return
        _, num_channels, rate_hz = layout
        channels = to_float(np.concatenate(pending, axis=1), num_channels)
        pending.clear()
        if channels.shape[1] == 0:
            return
        last = self.runs[-1] if self.runs else None
        if last is None or last.sample_rate_hz != rate_hz or last.mix.num_channels != num_channels:
            self._check_channels(num_channels)
            chosen = self.channels.get(len(self.runs))
            last = _Run(rate_hz, MonoMix(num_channels, chosen))
            self.runs.append(last)
        last.mix.add(channels)
        self.num_samples += channels.shape[1]
        self.seconds += channels.shape[1] / rate_hz
        if self.seconds > self.limits.max_s:
            raise ItemError(
                "TOO_LONG",
                f"{self.path.name} goes on after {self.seconds:.0f} s; wanted at most "
                f"{self.limits.max_s:.0f} s (stages.decode.max_hours)",
            )
        if self.num_samples * 4 > self.limits.max_bytes:
            raise ItemError(
                "TOO_LONG",
                f"{self.path.name} takes more than {self.limits.max_bytes >> 20} MB decoded, after "
                f"{self.seconds:.0f} s (stages.decode.max_decoded_mb)",
            )

    def finish(self) -> Decoded:
        """Runs joined at the rate of the longest, and the damage spelled out."""
        if not self.runs:
            raise ItemError(
                "DECODED_EMPTY",
                f"{self.path.name} ({self.container}, {self.codec}) gave no samples and "
                f"{self.num_errors} decoder errors; it holds none, or is encrypted",
            )
        longest = max(self.runs, key=lambda run: run.mix.num_samples / run.sample_rate_hz)
        num_nonfinite = sum(run.mix.num_nonfinite for run in self.runs)
        rate_hz = longest.sample_rate_hz
        pieces, downmix = [], ""
        for run in self.runs:
            mono, how = run.mix.finish()
            if run is longest:
                downmix = how
            if run.sample_rate_hz != rate_hz:
                mono = resample(mono, run.sample_rate_hz, rate_hz)
            pieces.append(mono)
        decoded = Decoded(
            samples=pieces[0] if len(pieces) == 1 else np.concatenate(pieces),
            sample_rate_hz=rate_hz,
            channels=longest.mix.num_channels,
            container=self.container,
            codec=self.codec,
            claimed_s=self.claimed_s,
            downmix=downmix,
            num_errors=self.num_errors,
        )
        self._judge(decoded, num_nonfinite)
        return decoded

    def _judge(self, decoded: Decoded, num_nonfinite: int) -> None:
        name, found_s = self.path.name, decoded.decoded_s
        if sum(run.mix.num_lost for run in self.runs) >= self.num_samples:
            raise ItemError("NONFINITE", f"{name}: all {self.num_samples} samples are NaN or inf")
        if self.claimed_s is not None:
            missing_s = self.claimed_s - found_s
            sentence = (
                f"{name}: {found_s:.2f} s decoded; its header promises {self.claimed_s:.2f} s"
            )
            if missing_s > self.tolerance_s:
                decoded.damage["TRUNCATED"] = f"{sentence}; copy it again from its source"
            elif -missing_s > self.tolerance_s:
                decoded.damage["DURATION_MISMATCH"] = f"{sentence}; the header is wrong"
        if (
            "TRUNCATED" not in decoded.damage
            and self.container == "ogg"
            and ends_inside_ogg_page(self.path)
        ):
            decoded.damage["TRUNCATED"] = (
                f"{name}: {found_s:.2f} s decoded; wanted a whole last Ogg page, but the file "
                "stops inside of it; copy it again from its source"
            )
        if len(self.runs) > 1:
            kinds = " then ".join(
                f"{run.sample_rate_hz} Hz x {run.mix.num_channels}" for run in self.runs[:4]
            )
            decoded.damage["FORMAT_CHANGE"] = f"{name} changes its format: {kinds}; wanted one"
        if num_nonfinite:
            decoded.damage["NONFINITE"] = (
                f"{name}: {num_nonfinite} of {self.num_samples} samples were NaN, infinite or "
                "absurdly large and are 0 now"
            )
        if self.num_errors:
            decoded.damage["DECODE_ERROR"] = (
                f"{name}: {self.num_errors} packets could not be decoded, {found_s:.2f} s could"
            )


def _interleaver() -> Callable[[Any], list[Any]]:
    """A function from a planar frame to the same samples interleaved (as a list of frames)."""
    import av

    resamplers: list[Any] = []

    def interleave(frame: Any) -> list[Any]:
        if not resamplers:
            resamplers.append(av.AudioResampler(format=frame.format.packed.name))
        frame.pts = None
        frames: list[Any] = resamplers[0].resample(frame)
        return frames

    return interleave


def _stated_length_s(container: Any, stream: Any) -> float | None:
    """Seconds that the header promises for this stream; None if it does not say."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    tag = stream.metadata.get("DURATION", "")  # Matroska: 00:01:02.345000000
    parts = tag.split(":")
    if len(parts) == 3:
        try:
            return float(parts[0]) * 3600 + float(parts[1]) * 60 + float(parts[2])
        except ValueError:
            return None
    if container.duration and len(container.streams) == 1:
        return float(container.duration) / 1e6
    return None
