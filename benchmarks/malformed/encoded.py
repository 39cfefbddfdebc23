"""Good files of every format: the voice through FFmpeg's encoders, equal bytes each time."""

import io
from collections.abc import Mapping
from functools import cache
from typing import Any

import av
import numpy as np

from benchmarks.malformed.voice import Samples, voice

_LAYOUTS = {1: "mono", 2: "stereo"}


def encode(
    channels: Samples,
    rate_hz: int,
    container: str,
    codec: str,
    *,
    bit_rate: int | None = None,
    container_options: Mapping[str, str] | None = None,
    codec_options: Mapping[str, str] | None = None,
    start_s: float = 0.0,
    tracks: int = 1,
) -> bytes:
    """Samples `[num_samples]` or `[channels, num_samples]` as a file; names are FFmpeg's."""
    planes = np.atleast_2d(channels).astype(np.float32)
    layout = _LAYOUTS[planes.shape[0]]
    out = io.BytesIO()
    # Without version strings, dates and random serials.
    options = {"fflags": "+bitexact", **(container_options or {})}
    with av.open(out, "w", format=container, options=options) as file:
        streams: list[Any] = [
            file.add_stream(
                codec,
                rate=rate_hz,
                layout=layout,
                options={"flags": "+bitexact", "strict": "experimental", **(codec_options or {})},
            )
            for _ in range(tracks)
        ]
        for stream in streams:
            if bit_rate:
                stream.bit_rate = bit_rate
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(planes), "fltp", layout)
            frame.sample_rate = rate_hz
            frame.pts = round(start_s * rate_hz)
            file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
    return out.getvalue()


def pictures_and_sound(
    container: str, picture_codec: str, audio_codec: str | None, *, cover: bool = False
) -> bytes:
    """A video of grey pictures, first stream of the file, with the voice behind it if wanted."""
    out = io.BytesIO()
    with av.open(out, "w", format=container, options={"fflags": "+bitexact"}) as file:
        video: Any = file.add_stream(picture_codec, rate=10, options={"flags": "+bitexact"})
        video.width = video.height = 32
        video.pix_fmt = "yuvj420p" if picture_codec == "mjpeg" else "yuv420p"
        if cover:
            video.disposition = av.stream.Disposition.attached_pic
        sound: Any = (
            file.add_stream(audio_codec, rate=44_100, layout="mono") if audio_codec else None
        )
        for number in range(1 if cover else 40):
            picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 90, np.uint8), "rgb24")
            picture.pts = number
            file.mux(video.encode(picture))
        file.mux(video.encode(None))
        if sound:
            frame = av.AudioFrame.from_ndarray(
                voice(44_100).astype(np.float32)[None], "fltp", "mono"
            )
            frame.sample_rate, frame.pts = 44_100, 0
            file.mux(sound.encode(frame))
            file.mux(sound.encode(None))
    return out.getvalue()


@cache
def wav() -> bytes:
    """16 kHz, 16 bit, as FFmpeg writes it."""
    return encode(voice(), 16_000, "wav", "pcm_s16le")


@cache
def flac() -> bytes:
    """16 kHz, some 40 KB. Every block carries a checksum."""
    return encode(voice(), 16_000, "flac", "flac", codec_options={"frame_size": "1024"})


@cache
def mp3(rate_hz: int = 16_000, pitch_hz: float = 120.0) -> bytes:
    """Mono at 32 kbit/s, with a Xing frame that states its number of frames."""
    return encode(voice(rate_hz, pitch_hz), rate_hz, "mp3", "libmp3lame", bit_rate=32_000)


@cache
def vorbis(pitch_hz: float = 120.0) -> bytes:
    """Ogg Vorbis, 44.1 kHz stereo: all that FFmpeg's own encoder takes."""
    samples = np.stack([voice(44_100, pitch_hz)] * 2)
    return encode(samples, 44_100, "ogg", "vorbis", container_options={"page_duration": "200000"})


@cache
def opus() -> bytes:
    """Ogg Opus in pages of 0.2 s."""
    options = {"page_duration": "200000"}
    return encode(voice(48_000), 48_000, "ogg", "libopus", container_options=options)


@cache
def m4a() -> bytes:
    """AAC in MP4, the index (moov) at the end."""
    return encode(voice(44_100), 44_100, "ipod", "aac", bit_rate=64_000)
