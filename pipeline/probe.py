"""About how much audio a listing holds: a sample of headers, which a confined decoder reads."""

import math
import time
from collections.abc import Sequence

from pipeline.inputs import fetched
from schemas.errors import ItemError
from schemas.source import Source
from stages.decoding.contents import Limits
from stages.decoding.decoder import IsolatedDecoder
from stages.decoding.input_file import open_audio

READ_HEADER = "stages.decoding.reading:read_header"
"""What the decoder runs."""
PROBED = 48
"""Headers looked at; they are spread evenly over the inputs, ordered by name."""
WALL_S = 10.0
"""Of one header. One that takes longer is left out."""
ALL_WALL_S = 60.0
"""After this no further header is looked at: an estimate is not worth more of a wait."""
LOWEST_BITS_PER_S = 2_000.0
"""The thriftiest codec that is read, narrow-band Speex, takes 2150 bit/s: what promises more audio
than this has a header that lies, or holds silence."""
LOWEST_PCM_BITS_PER_S = 32_000.0
"""Samples of 8 bits at 4 kHz, below which no rate is read."""


def audio_hours(
    sources: Sequence[Source], limits: Limits, decoder: IsolatedDecoder
) -> tuple[float, int]:
    """Hours of audio, from a sample of headers scaled by bytes; and how many of them were used.

    `decoder` runs `READ_HEADER`. What it refuses, and a header that promises what cannot be or is
    beyond the limits, stands for nothing. Raises `StorageError` where this machine is at fault.
    """
    step = max(1, math.ceil(len(sources) / PROBED))
    seconds = probed_bytes = 0.0
    probed = 0
    deadline = time.monotonic() + ALL_WALL_S
    for source in sources[::step]:
        if time.monotonic() > deadline:
            break
        promised_s = _promised_s(source, limits, decoder)
        if promised_s is not None:
            seconds += promised_s
            probed_bytes += source.size_bytes
            probed += 1
    if not probed_bytes:
        return 0.0, probed
    return seconds / probed_bytes * sum(s.size_bytes for s in sources) / 3600, probed


def _promised_s(source: Source, limits: Limits, decoder: IsolatedDecoder) -> float | None:
    try:
        with fetched(source) as path, open_audio(path) as file:
            contents, _ = decoder.read(file, path.name, limits, wall_s=WALL_S)
    except (ItemError, RuntimeError):
        return None  # a run tells what is wrong with it
    is_pcm = contents.codec.startswith("pcm_")
    lowest = LOWEST_PCM_BITS_PER_S if is_pcm else LOWEST_BITS_PER_S
    most_s = min(limits.max_s, source.size_bytes * 8 / lowest)
    promised_s = contents.claimed_s
    return promised_s if promised_s is not None and 0 < promised_s <= most_s else None
