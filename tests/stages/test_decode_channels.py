"""Channels and sample formats of whole files: every voice in them reaches the mono mix."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.decode import Decoded, decode_file
from tests.stages.media_files import Samples, sine, wav_bytes

RATE_HZ = 16_000
TONE = sine(2, RATE_HZ)
RNG = np.random.default_rng(7)


def decoded(path: Path) -> Decoded:
    return decode_file(path, max_s=60, max_bytes=1 << 26, max_channels=16)


def wav(path: Path, *channels: Samples, **header: Any) -> Path:
    path.write_bytes(wav_bytes(np.stack(channels), RATE_HZ, **header))
    return path


def written(path: Path, channels: Samples, rate_hz: int, codec: str, layout: str) -> Path:
    """Channels `[num_channels, num_samples]` through an encoder that takes their layout."""
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate_hz, layout=layout)
        for start in range(0, channels.shape[1], 1024):
            block = channels[:, start : start + 1024].T.reshape(1, -1).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), "flt", layout)
            frame.sample_rate, frame.pts = rate_hz, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def strength(samples: Samples, rate_hz: int, pitch_hz: int) -> float:
    """Amplitude of a sine of a whole number of hertz in the second second."""
    spectrum = np.fft.rfft(samples[rate_hz // 2 : rate_hz // 2 + rate_hz])
    return float(np.abs(spectrum[pitch_hz])) * 2 / rate_hz


def test_three_channels_are_averaged_sample_by_sample(tmp_path: Path) -> None:
    channels = RNG.uniform(-0.5, 0.5, (3, RATE_HZ))
    result = decoded(wav(tmp_path / "a.wav", *channels, as_float=True))
    assert (result.channels, result.downmix) == (3, "mean")
    assert np.abs(result.samples - channels.mean(axis=0)).max() < 1e-6


@pytest.mark.parametrize(
    ("name", "codec", "layout", "num_channels"),
    [
        ("a.flac", "flac", "7.1", 8),
        ("a.opus", "libopus", "7.1", 8),
        ("a.m4a", "aac", "7.1", 8),
        ("a.mka", "aac", "5.1", 6),
    ],
)
def test_every_channel_of_surround_sound_is_in_the_mix(
    tmp_path: Path, name: str, codec: str, layout: str, num_channels: int
) -> None:
    # The fourth is the low-frequency channel: encoders cut what it holds above 120 Hz.
    pitches_hz = [400 + 200 * channel for channel in range(num_channels)]
    channels = np.stack([sine(2, 48_000, pitch_hz) for pitch_hz in pitches_hz])
    result = decoded(written(tmp_path / name, channels, 48_000, codec, layout))
    assert (result.channels, result.damage) == (num_channels, {})
    for pitch_hz in pitches_hz[:3] + pitches_hz[4:]:
        share = strength(result.samples, 48_000, pitch_hz) / (0.3 / num_channels)
        assert 0.8 < share < 1.2, pitch_hz


def test_a_dead_channel_of_a_file_does_not_halve_the_other(tmp_path: Path) -> None:
    result = decoded(wav(tmp_path / "a.wav", TONE, 0 * TONE))
    assert result.downmix == "channel:0"
    assert np.abs(result.samples - TONE).max() < 1e-4


def test_a_channel_without_a_single_number_leaves_the_other_whole(tmp_path: Path) -> None:
    result = decoded(wav(tmp_path / "a.wav", TONE * np.nan, TONE, as_float=True))
    assert result.downmix == "channel:1"
    assert list(result.damage) == ["NONFINITE"]
    assert np.abs(result.samples - TONE).max() < 1e-6


@pytest.mark.parametrize(
    ("codec", "largest_error"),
    [
        ("pcm_u8", 1 / 120),
        ("pcm_s24le", 1e-6),
        ("pcm_s32le", 1e-6),
        ("pcm_f32le", 1e-6),
        ("pcm_f64le", 1e-6),
        ("pcm_alaw", 0.01),
        ("pcm_mulaw", 0.01),
    ],
)
def test_every_width_of_sample_has_the_same_scale(
    tmp_path: Path, codec: str, largest_error: float
) -> None:
    path = written(tmp_path / "a.wav", TONE[None], RATE_HZ, codec, "mono")
    result = decoded(path)
    assert result.codec == codec
    assert result.samples.shape == TONE.shape
    assert np.abs(result.samples - TONE).max() < largest_error


@pytest.mark.parametrize(("name", "codec"), [("a.mp3", "libmp3lame"), ("a.opus", "libopus")])
def test_the_same_file_twice_gives_the_same_samples(tmp_path: Path, name: str, codec: str) -> None:
    noise = RNG.standard_normal((1, 96_000)) * 0.1
    path = written(tmp_path / name, noise, 48_000, codec, "mono")
    assert np.array_equal(decoded(path).samples, decoded(path).samples)


def test_half_a_w64_is_flagged_with_the_length_that_was_promised(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.w64", TONE[None], RATE_HZ, "pcm_s16le", "mono")
    assert (decoded(whole).claimed_s, decoded(whole).damage) == (2.0, {})
    content = whole.read_bytes()
    (tmp_path / "torn.w64").write_bytes(content[: len(content) // 2])
    torn = decoded(tmp_path / "torn.w64")
    assert list(torn.damage) == ["TRUNCATED"]
    assert torn.claimed_s == pytest.approx(2.0, abs=0.001)
    assert np.abs(torn.samples - TONE[: len(torn.samples)]).max() < 1e-4
