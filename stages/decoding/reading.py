"""One pass over the bytes of an audio file: samples of mono float32, and every sign of damage.

A decoder's silence proves nothing: of 18 damaged files 16 come out of FFmpeg without an error code.
So corrupt packets are stepped over and counted, and what the header promises is told beside what
came out.
"""

import io
import math
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from schemas.errors import ItemError
from stages.chunks import bytes_of_no_chunk, bytes_of_other_audio
from stages.decoding.contents import (
    HIGHEST_RATE_HZ,
    MOST_STRETCHES,
    Contents,
    Limits,
    Stretch,
)
from stages.decoding.frames import (
    NamedFile,
    frames_of,
    import_all_of_pyav,
    interleaver,
    is_misread,
    reading_on,
)
from stages.decoding.header import (
    check_codec,
    claimed_length_s,
    encrypted,
    first_audio_stream,
    guessed_length_s,
    unopenable,
)
from stages.decoding.samples import SampleWriter
from stages.downmix import MonoMix, to_float
from stages.media import OPEN_FILE_OPTIONS
from stages.ogg import ends_inside_ogg_page

LOWEST_RATE_HZ = 4_000
"""Below this, or above `HIGHEST_RATE_HZ`, a header lies: a 128-KB WAV that claims 1 Hz would decode
to 17 hours."""
_CHUNK_SAMPLES = 65_536
LOUDEST_LOSSY_SAMPLE = 8.0
"""Full-scale noise and squares leave lossy codecs at up to 4 times full scale (AAC, MP3, Vorbis,
Opus and AC-3 at 32 kbit/s). A frame beyond twice that is what a flipped bit made of it."""
_EXACT_CODECS = ("pcm_", "flac", "alac", "ape", "tta", "wavpack")
_USUAL_BLOCK_SAMPLES = 2048  # WMA, Vorbis and others do not say how long their blocks are

import_all_of_pyav()


def read_audio(file: io.FileIO, name: str, limits: Limits, writer: SampleWriter) -> Contents:
    """The first audio stream of an open file, mixed to mono and handed to `writer`.

    Costs a second pass where the mean of the channels cancels itself out and one must be chosen.
    Raises `ItemError` if there is no audio to be had, `MemoryError` if FFmpeg is refused memory.
    """
    av.logging.set_level(av.logging.PANIC)  # what matters is counted, the rest is noise
    reading = _Pass(file, name, limits, writer)
    reading.run()
    chosen = {i: run.mix.better_channel() for i, run in enumerate(reading.runs)}
    if any(channel is not None for channel in chosen.values()):
        writer.restart()
        reading = _Pass(file, name, limits, writer, chosen)
        reading.run()
    return reading.contents()


def read_header(file: io.FileIO, name: str, limits: Limits, writer: SampleWriter) -> Contents:
    """What the header says of the first audio stream: no samples and no stretches.

    `claimed_s` is FFmpeg's guess where the header does not say. Raises like `read_audio`.
    """
    av.logging.set_level(av.logging.PANIC)
    reading = _Pass(file, name, limits, writer)
    reading.run(header_only=True)
    return reading.contents()


@dataclass(slots=True)
class _Run:
    """A stretch that grows."""

    sample_rate_hz: int
    mix: MonoMix

    @property
    def seconds(self) -> float:
        return self.mix.num_samples / self.sample_rate_hz


class _Pass:
    def __init__(
        self,
        file: io.FileIO,
        name: str,
        limits: Limits,
        writer: SampleWriter,
        channels: dict[int, int | None] | None = None,
    ) -> None:
        self.file = file
        self.name = name
        self.limits = limits
        self.writer = writer
        self.channels = channels or {}
        self.runs: list[_Run] = []
        self.num_errors = 0
        self.num_encrypted = 0
        self.container = ""
        self.codec = ""
        self.claimed_s: float | None = None
        self.tolerance_s = 0.0

    def run(self, *, header_only: bool = False) -> None:
        """Decodes the whole file, or nothing of it."""
        self.file.seek(0)
        try:
            opened = av.open(
                NamedFile(self.file, self.name),
                options=dict(OPEN_FILE_OPTIONS),
                metadata_errors="ignore",
            )
        except (ItemError, MemoryError):
            raise
        except (av.FFmpegError, ValueError) as error:
            with reading_on(self.name):
                raise unopenable(self.file, self.name) from error
        with opened as container:
            self.container = container.format.name
            stream = first_audio_stream(container, self.name)
            self._read_header(container, stream)
            if not header_only:
                self._decode(container, stream)
            elif self.claimed_s is None:
                self.claimed_s = guessed_length_s(container)
        if self.num_encrypted and not self.runs:
            raise encrypted(self.name, self.codec)

    def _read_header(self, container: Any, stream: Any) -> None:
        context = stream.codec_context
        self.codec = context.name
        rate_hz = context.sample_rate
        if rate_hz:
            self._check_rate(rate_hz)
        self._check_channels(context.channels)
        with reading_on(self.name):
            at = self.file.tell()
            check_codec(context, self.container, self.file, self.name)
            self.claimed_s = claimed_length_s(container, stream, self.file)
            self.file.seek(at)  # where FFmpeg believes that it stands
        self.tolerance_s = 0.02
        if not self.codec.startswith(_EXACT_CODECS) and rate_hz:
            # Others cut to whole blocks and add a delay; three cover encoder and decoder.
            self.tolerance_s += 3 * (context.frame_size or _USUAL_BLOCK_SAMPLES) / rate_hz

    def _check_rate(self, rate_hz: int) -> None:
        if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
            raise ItemError(
                "HEADER_INVALID",
                f"{self.name} states {rate_hz} Hz; wanted {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz",
            )

    def _check_channels(self, num_channels: int) -> None:
        if num_channels > self.limits.max_channels:
            raise ItemError(
                "TOO_MANY_CHANNELS",
                f"{self.name} has {num_channels} channels; wanted at most "
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
        interleave = interleaver()
        for frame in frames_of(container, stream, self._count_error, self._count_encrypted):
            found = (frame.format.name, frame.layout.nb_channels, frame.rate)
            if found != layout or pending_samples >= _CHUNK_SAMPLES:
                self._flush(pending, layout)
                pending_samples = 0
                if found != layout:
                    interleave = interleaver()
                layout = found
            if is_misread(frame):
                pending.extend(packed.to_ndarray() for packed in interleave(frame))
            else:
                pending.append(frame.to_ndarray())
            pending_samples += frame.samples
        self._flush(pending, layout)

    def _count_error(self) -> None:
        self.num_errors += 1

    def _count_encrypted(self) -> None:
        self.num_encrypted += 1
        self.num_errors += 1

    def _flush(
        self, pending: list[npt.NDArray[np.generic]], layout: tuple[str, int, int] | None
    ) -> None:
        if not pending or layout is None:
            return
        _, num_channels, rate_hz = layout
        joined = np.concatenate(pending, axis=1)
        if self._is_burst(joined):
            good = [one for one in pending if not self._is_burst(one)]
            self.num_errors += len(pending) - len(good)
            joined = np.concatenate([joined[:, :0], *good], axis=1)
        pending.clear()
        channels = to_float(joined, num_channels)
        if channels.shape[1] == 0:
            return
        last = self.runs[-1] if self.runs else None
        if last is None or last.sample_rate_hz != rate_hz or last.mix.num_channels != num_channels:
            last = self._new_run(rate_hz, num_channels)
        mono = last.mix.add(channels)
        self._check_length()
        self.writer.append(mono)

    def _new_run(self, rate_hz: int, num_channels: int) -> _Run:
        self._check_rate(rate_hz)
        self._check_channels(num_channels)
        if len(self.runs) >= MOST_STRETCHES:
            raise ItemError(
                "FORMAT_CHANGE",
                f"{self.name} changes its format more than {MOST_STRETCHES} times; wanted one",
            )
        self.runs.append(_Run(rate_hz, MonoMix(num_channels, self.channels.get(len(self.runs)))))
        return self.runs[-1]

    def _is_burst(self, samples: npt.NDArray[np.generic]) -> bool:
        """Whether a lossy codec gave samples that are too loud for it."""
        if not samples.size or samples.dtype.kind != "f" or self.codec.startswith(_EXACT_CODECS):
            return False
        return bool(max(samples.max(), -samples.min()) > LOUDEST_LOSSY_SAMPLE)

    def _check_length(self) -> None:
        seconds = math.fsum(run.seconds for run in self.runs)
        if seconds > self.limits.max_s:
            raise ItemError(
                "TOO_LONG",
                f"{self.name} goes on after {seconds:.0f} s; wanted at most "
                f"{self.limits.max_s:.0f} s (stages.decode.max_hours)",
            )
        if sum(run.mix.num_samples for run in self.runs) * 4 > self.limits.max_bytes:
            raise ItemError(
                "TOO_LONG",
                f"{self.name} takes more than {self.limits.max_bytes >> 20} MB decoded, after "
                f"{seconds:.0f} s (stages.decode.max_decoded_mb)",
            )

    def contents(self) -> Contents:
        """What there is to tell, once all samples are written."""
        stretches, start = [], 0
        for run in self.runs:
            mix = run.mix
            how, gain = mix.judged()
            if gain != 1.0:
                self.writer.scale(start, mix.num_samples, gain)
            start += mix.num_samples
            stretches.append(
                Stretch(
                    sample_rate_hz=run.sample_rate_hz,
                    channels=mix.num_channels,
                    num_samples=mix.num_samples,
                    downmix=how,
                    num_nonfinite=mix.num_nonfinite,
                    num_lost=mix.num_lost,
                )
            )
        with reading_on(self.name):
            behind = bytes_of_other_audio(self.file)
            unannounced = bytes_of_no_chunk(self.file)
            inside_page = self.container == "ogg" and ends_inside_ogg_page(self.file)
        return Contents(
            container=self.container,
            codec=self.codec,
            claimed_s=self.claimed_s,
            tolerance_s=self.tolerance_s,
            num_errors=self.num_errors,
            bytes_of_other_audio=behind,
            bytes_of_no_chunk=unannounced,
            ends_inside_page=inside_page,
            stretches=tuple(stretches),
        )
