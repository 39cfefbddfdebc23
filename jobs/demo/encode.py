"""Audio to a file of a given codec through PyAV, the same bytes each time."""

from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from scipy.signal import resample_poly

from jobs.demo.voices import Audio


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoding:
    """How a recording is stored; names are FFmpeg's."""

    container: str
    codec: str
    sample_rate_hz: int
    sample_format: str
    bit_rate_bps: int | None = None
    """None where the codec has no rate to choose."""
    options: dict[str, str] = field(default_factory=dict)


def write_audio(path: Path, audio: Audio, rate_hz: int, encoding: Encoding) -> None:
    """Writes audio [N] or [channels, N] in -1..1, resampled to the encoding's rate.

    Without time stamps, version strings and random serials, so that a remake compares by bytes.
    Raises `ValueError` where the codec is not one for audio.
    """
    if av.Codec(encoding.codec, "w").type != "audio":
        raise ValueError(f"{encoding.codec} is no audio codec; name one that FFmpeg can write")
    channels = np.atleast_2d(audio)
    layout = "mono" if len(channels) == 1 else "stereo"
    if rate_hz != encoding.sample_rate_hz:
        divisor = int(np.gcd(rate_hz, encoding.sample_rate_hz))
        up, down = encoding.sample_rate_hz // divisor, rate_hz // divisor
        channels = resample_poly(channels, up, down, axis=1)
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(channels, dtype=np.float32), format="fltp", layout=layout
    )
    frame.sample_rate = encoding.sample_rate_hz
    frame.pts = 0
    with av.open(
        str(path), "w", format=encoding.container, options={"fflags": "+bitexact"}
    ) as container:
        stream = container.add_stream(
            encoding.codec,
            rate=encoding.sample_rate_hz,
            options={"flags": "+bitexact", **encoding.options},
            layout=layout,
            format=encoding.sample_format,
        )
        if not isinstance(stream, av.AudioStream):  # known by now; this tells the type checker
            raise TypeError(f"{encoding.codec} gave a stream of {stream.type}")
        if encoding.bit_rate_bps is not None:
            stream.bit_rate = encoding.bit_rate_bps
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
