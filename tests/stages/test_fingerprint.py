"""Landmarks and duplicates: the same sound is found again, other sounds are not taken for it."""

import io
from typing import Any

import av
import numpy as np
import pytest

from schemas.codes import Waveform
from stages.duplicates import MinhashDuplicates, similarity
from stages.fingerprint import RATE_HZ, landmarks, sketch


def babble(seed: int, seconds: float = 12.0) -> Waveform:
    """Speech-like sound: syllables of wandering harmonics with pauses between them."""
    rng = np.random.default_rng(seed)
    parts: list[np.ndarray[Any, np.dtype[Any]]] = []
    while np.sum([len(p) for p in parts]) < seconds * RATE_HZ:
        time_s = np.arange(int(rng.uniform(0.08, 0.3) * RATE_HZ)) / RATE_HZ
        pitch = rng.uniform(90, 250) * (1 + rng.uniform(-0.3, 0.3) * time_s)
        phase = 2 * np.pi * np.cumsum(pitch) / RATE_HZ
        tones = [rng.uniform(0.05, 1) * np.sin(k * phase) for k in range(1, 14)]
        parts += [np.sum(tones, axis=0) * np.hanning(len(time_s)), np.zeros(rng.integers(200, 900))]
    sound = np.concatenate(parts)[: int(seconds * RATE_HZ)]
    return (0.1 * sound / sound.std()).astype(np.float32)


def reencoded(samples: Waveform, codec: str, form: str, bit_rate: int) -> Waveform:
    """What a lossy codec makes of it, back at the same rate."""
    buffer = io.BytesIO()
    container: Any
    stream: Any
    rate_hz = 48_000 if codec == "libopus" else RATE_HZ
    with av.open(buffer, "w", format=form) as container:
        stream = container.add_stream(codec, rate=rate_hz, layout="mono")
        stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="flt", layout="mono")
        frame.sample_rate = RATE_HZ
        resampler = av.AudioResampler(stream.format, "mono", rate_hz)
        for piece in resampler.resample(frame):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer) as container:
        resampler = av.AudioResampler("flt", "mono", RATE_HZ)
        frames = [o for f in container.decode(audio=0) for o in resampler.resample(f)]
    return np.concatenate([f.to_ndarray()[0] for f in frames]).astype(np.float32)


def share(one: Waveform, other: Waveform) -> float:
    return similarity(sketch(landmarks(one), 256), sketch(landmarks(other), 256))


@pytest.mark.parametrize(
    ("codec", "form", "bit_rate"),
    [("libmp3lame", "mp3", 24_000), ("libopus", "ogg", 16_000), ("aac", "adts", 24_000)],
)
def test_another_encoding_at_another_level_shares_most_landmarks(
    codec: str, form: str, bit_rate: int
) -> None:
    sound = babble(0)
    assert share(sound, reencoded(sound * np.float32(0.3), codec, form, bit_rate)) > 0.3


def test_different_sounds_share_next_to_none() -> None:
    sketches = [sketch(landmarks(babble(seed)), 256) for seed in range(8)]
    shares = [similarity(a, b) for i, a in enumerate(sketches) for b in sketches[:i]]
    assert max(shares) < 0.08


def test_what_is_short_or_silent_has_no_sketch_and_repeats_nothing() -> None:
    assert sketch(landmarks(np.zeros(80_000, np.float32)), 64) == []
    assert sketch(landmarks(babble(0, seconds=0.3)), 64) == []
    assert sketch(landmarks(np.zeros(0, np.float32)), 64) == []
    rows = [row("a", []), row("b", [])]
    assert MinhashDuplicates(MinhashDuplicates.Spec()).link(rows) == []


def row(name: str, values: list[int], seconds: float = 10.0, size: int = 100) -> dict[str, Any]:
    return {
        "source_id": name,
        "uri": f"{name}.wav",
        "sketch": values,
        "decoded_s": seconds,
        "size_bytes": size,
    }


def test_of_a_group_the_longest_then_the_largest_stays_in_any_order() -> None:
    first, second = (sketch(landmarks(babble(seed)), 128) for seed in (1, 2))
    near = [*first[:100], *second[100:]]
    rows = [
        row("small", first, size=10),
        row("large", first, size=90),
        row("mixed", near, size=50),
        row("other", second, seconds=3.0),
        row("long", first, seconds=20.0, size=5),
    ]
    stage = MinhashDuplicates(MinhashDuplicates.Spec(threshold=0.5))
    found = stage.link(rows)
    assert {d.source_id: d.duplicate_of for d in found} == {
        "small": "long",
        "large": "long",
        "mixed": "long",
    }
    assert stage.link(rows[::-1]) == found
    assert all(0.5 <= d.similarity <= 1.0 for d in found)
