"""Short clips of segments for the report, cut from the inputs again and encoded as Ogg Opus."""

import io
from collections.abc import Callable, Mapping
from typing import Any

import av
import numpy as np

from pipeline.assemble import Job
from pipeline.inputs import fetched
from pipeline.item_state import ItemState
from pipeline.process import run_stages
from schemas.codes import Waveform
from schemas.errors import ItemError
from schemas.source import Source
from stages.base import RecordingStage
from stages.resample import resample

MAX_CLIP_S = 12.0
OPUS_HZ = 48_000
Clip = Callable[[Mapping[str, Any]], bytes | None]


def clip_maker(job: Job, sources: Mapping[str, Source]) -> Clip:
    """A function from a row of `segments` to an encoded clip, or None when there is none to be had.

    Decoded recordings are remembered one at a time: ask for the rows of a recording together.
    """
    stages = [
        named
        for named in job.stages
        if isinstance(named.stage, RecordingStage) and "audio" in named.stage.writes
    ]
    for named in stages:
        named.stage.open()
    last: list[ItemState] = []

    def clip(row: Mapping[str, Any]) -> bytes | None:
        source = sources.get(row["source_id"])
        if source is None:
            return None
        if not last or last[0].source != source:
            item = ItemState(source, row["recording_id"])
            try:
                with fetched(source) as path:
                    item.values["path"] = path
                    run_stages([item], stages)
            except (ItemError, OSError):
                return None  # the input is gone: the report shows the row without a player
            last[:] = [item]
        item = last[0]
        if not item.alive:
            return None
        audio = item.values["audio"]
        end = min(row["end_sample"], row["start_sample"] + int(MAX_CLIP_S * audio.sample_rate_hz))
        # Only the clip is resampled, not the recording that it is cut from.
        piece = audio.cut(row["start_sample"], end)
        return encode_opus(resample(piece, audio.sample_rate_hz, OPUS_HZ), OPUS_HZ)

    return clip


def encode_opus(samples: Waveform, rate_hz: int) -> bytes:
    """Mono samples as an Ogg Opus file of about 32 kbit/s."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=rate_hz, layout="mono")
        stream.bit_rate = 32_000
        block = rate_hz  # a second at a time
        for start in range(0, len(samples), block):
            piece = np.clip(samples[start : start + block], -1.0, 1.0)[np.newaxis]
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(piece), format="flt", layout="mono"
            )
            frame.sample_rate = rate_hz
            frame.pts = start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()
