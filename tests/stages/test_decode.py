"""Decoding: every kind of file comes out whole, and damage never passes in silence."""

import csv
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.errors import ItemError
from schemas.verdict import Keep
from stages.audio import Audio
from stages.base import Recording
from stages.decode import PyavDecode
from stages.decoding.decoder import IsolatedDecoder
from tests.stages.media_files import Samples, encode, sine, wav_bytes

SHARED_AUDIO = Path(__file__).resolve().parents[2].parent / "shared" / "audio"
RATE_HZ = 16_000
TONE = sine(4, RATE_HZ)


@cache
def stage_with(**spec: Any) -> PyavDecode:
    """Kept, because each has a process of its own."""
    stage = PyavDecode(PyavDecode.Spec(**spec))
    stage.open()
    return stage


def decode(path: Path, **spec: Any) -> dict[str, Any]:
    verdict = stage_with(**spec).process(Recording("s", "r", str(path), {"path": str(path)}))
    assert isinstance(verdict, Keep)
    assert verdict.values.keys() == PyavDecode.writes
    return dict(verdict.values)


def samples_of(values: dict[str, Any]) -> Samples:
    audio = values["audio"]
    assert isinstance(audio, Audio)
    return audio.samples


def failure(path: Path, **spec: Any) -> ItemError:
    with pytest.raises(ItemError) as raised:
        decode(path, **spec)
    return raised.value


def wav(path: Path, samples: Samples = TONE, **header: Any) -> Path:
    path.write_bytes(wav_bytes(samples, RATE_HZ, **header))
    return path


def first_half(path: Path, out: Path) -> Path:
    content = path.read_bytes()
    out.write_bytes(content[: len(content) // 2])
    return out


def test_samples_of_a_wav_come_out_as_they_went_in(tmp_path: Path) -> None:
    values = decode(wav(tmp_path / "a.wav"))
    assert np.abs(samples_of(values) - TONE).max() < 1 / 32767
    assert samples_of(values).dtype == np.float32
    del values["audio"]
    assert values == {
        "container": "wav",
        "codec": "pcm_s16le",
        "source_sample_rate_hz": RATE_HZ,
        "source_channels": 1,
        "claimed_s": 4.0,
        "decoded_s": 4.0,
        "decode_flags": [],
        "downmix": "mono",
    }


@pytest.mark.parametrize(
    ("name", "codec", "rate_hz"),
    [
        ("a.mp3", "libmp3lame", 16_000),
        ("a.flac", "flac", 16_000),
        ("a.opus", "libopus", 48_000),
        ("a.webm", "libopus", 48_000),
        ("a.m4a", "aac", 44_100),
        ("a.aac", "aac", 44_100),
        ("a.caf", "pcm_s16le", 16_000),
        ("a.aiff", "pcm_s16be", 16_000),
        ("a.mp2", "mp2", 44_100),
        ("a.ac3", "ac3", 44_100),
    ],
)
def test_a_whole_file_of_any_format_has_its_length_and_no_flag(
    tmp_path: Path, name: str, codec: str, rate_hz: int
) -> None:
    path = encode(tmp_path / name, np.stack([sine(3, rate_hz)] * 2), rate_hz, codec)
    values = decode(path)
    assert values["decoded_s"] == pytest.approx(3.0, abs=0.05)
    assert values["decode_flags"] == []
    assert (values["source_channels"], values["downmix"]) == (2, "mean")
    middle = samples_of(values)[rate_hz : 2 * rate_hz]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize(
    ("name", "codec", "rate_hz"),
    [
        ("a.mp3", "libmp3lame", 16_000),
        ("a.flac", "flac", 16_000),
        ("a.opus", "libopus", 48_000),
        ("a.webm", "libopus", 48_000),
        ("a.caf", "pcm_s16le", 16_000),
        ("a.aiff", "pcm_s16be", 16_000),
        ("a.au", "pcm_s16be", 16_000),
        ("a.wav", "pcm_s16le", 16_000),
    ],
)
def test_half_a_file_is_salvaged_with_a_flag_or_fails_with_both_lengths(
    tmp_path: Path, name: str, codec: str, rate_hz: int
) -> None:
    whole = encode(tmp_path / name, sine(4, rate_hz), rate_hz, codec)
    torn = first_half(whole, tmp_path / f"torn-{name}")
    values = decode(torn)
    assert "TRUNCATED" in values["decode_flags"]
    assert 0.9 < values["decoded_s"] < 3
    error = failure(torn, on_damage="fail")
    assert error.error_class == "TRUNCATED"
    assert f"{values['decoded_s']:.2f} s decoded" in str(error)
    if name != "a.opus":  # Ogg states its length on the page that is missing
        assert values["claimed_s"] == pytest.approx(4.0, abs=0.05)
        assert "promises 4.0" in str(error)


def test_an_mp4_without_its_index_says_so(tmp_path: Path) -> None:
    whole = encode(tmp_path / "a.m4a", sine(4, 44_100), 44_100, "aac")
    error = failure(first_half(whole, tmp_path / "torn.m4a"))
    assert error.error_class == "TRUNCATED"
    assert "moov" in str(error)


@pytest.mark.parametrize(("name", "codec"), [("a.mp3", "libmp3lame"), ("a.flac", "flac")])
def test_what_lies_behind_a_hole_is_still_decoded(tmp_path: Path, name: str, codec: str) -> None:
    content = bytearray(encode(tmp_path / name, TONE, RATE_HZ, codec).read_bytes())
    middle, length = len(content) // 2, len(content) // 5
    content[middle : middle + length] = bytes(length)
    (tmp_path / f"hole-{name}").write_bytes(content)
    values = decode(tmp_path / f"hole-{name}")
    assert 2.5 < values["decoded_s"] < 3.7
    assert "TRUNCATED" in values["decode_flags"]


def test_a_flipped_bit_in_a_flac_costs_its_block_and_is_no_burst_of_noise(tmp_path: Path) -> None:
    content = bytearray(encode(tmp_path / "a.flac", TONE, RATE_HZ, "flac").read_bytes())
    content[len(content) // 2] ^= 0x10
    (tmp_path / "flip.flac").write_bytes(content)
    values = decode(tmp_path / "flip.flac")
    assert "TRUNCATED" in values["decode_flags"]
    assert 3.5 < values["decoded_s"] < 4
    assert np.abs(samples_of(values)).max() < 0.31


@pytest.mark.parametrize("stated_bytes", [0, 0xFFFFFFFF])
def test_a_wav_that_leaves_its_size_open_is_read_to_the_end(
    tmp_path: Path, stated_bytes: int
) -> None:
    values = decode(wav(tmp_path / "a.wav", stated_bytes=stated_bytes))
    assert (values["decoded_s"], values["decode_flags"]) == (4.0, [])


def test_a_change_of_rate_is_flagged_and_the_rest_keeps_its_pitch_and_length(
    tmp_path: Path,
) -> None:
    one = encode(tmp_path / "one.mp3", sine(4, 16_000), 16_000, "libmp3lame").read_bytes()
    other = encode(tmp_path / "two.mp3", sine(3, 44_100), 44_100, "libmp3lame").read_bytes()
    (tmp_path / "glued.mp3").write_bytes(one + other)
    values = decode(tmp_path / "glued.mp3")
    assert "FORMAT_CHANGE" in values["decode_flags"]
    assert values["source_sample_rate_hz"] == 16_000
    assert values["decoded_s"] == pytest.approx(7.1, abs=0.2)
    spectrum = np.abs(np.fft.rfft(samples_of(values)[5 * 16_000 : 6 * 16_000]))
    assert spectrum.argmax() == 440


def test_samples_that_are_no_numbers_become_silence_with_a_flag(tmp_path: Path) -> None:
    samples = TONE.copy()
    samples[100:110], samples[200], samples[300] = np.nan, np.inf, 1e30
    path = wav(tmp_path / "a.wav", samples, as_float=True)
    values = decode(path)
    assert values["decode_flags"] == ["NONFINITE"]
    decoded = samples_of(values)
    assert np.isfinite(decoded).all()
    assert (decoded[[100, 109, 200, 300]] == 0).all()
    assert decoded[150] == pytest.approx(TONE[150])
    assert "12 of 64000 samples" in str(failure(path, on_damage="fail"))
    nothing = wav(tmp_path / "b.wav", TONE * np.nan, as_float=True)
    assert failure(nothing).error_class == "NONFINITE"


def test_inverted_stereo_gives_one_channel_instead_of_silence(tmp_path: Path) -> None:
    values = decode(wav(tmp_path / "a.wav", np.stack([TONE * 0.9, -TONE])))
    assert values["downmix"] == "channel:1"
    assert np.abs(samples_of(values) + TONE).max() < 1e-4


@pytest.mark.parametrize(
    ("stated", "error_class"),
    [
        ({"stated_rate_hz": 1}, "HEADER_INVALID"),
        ({"stated_rate_hz": 0}, "HEADER_INVALID"),
        ({"stated_rate_hz": 2**32 - 1}, "HEADER_INVALID"),
        ({"stated_channels": 0}, "DECODED_EMPTY"),
        ({"stated_channels": 17}, "TOO_MANY_CHANNELS"),
        ({"stated_channels": 65_535}, "DECODED_EMPTY"),
    ],
)
def test_headers_that_promise_what_cannot_be_fail(
    tmp_path: Path, stated: dict[str, Any], error_class: str
) -> None:
    assert failure(wav(tmp_path / "a.wav", TONE, **stated)).error_class == error_class


@pytest.mark.parametrize(
    ("content", "error_class", "said"),
    [
        (b"", "EMPTY_FILE", "no bytes"),
        (b"<!DOCTYPE html><html>404</html>", "NOT_AUDIO", "an HTML page"),
        (b'{"error": "no such key"}', "NOT_AUDIO", "JSON"),
        ("Файл не найден. ".encode() * 30, "NOT_AUDIO", "plain text"),
        (b"PK\x03\x04" + bytes(range(200)), "NOT_AUDIO", "a ZIP archive"),
        (bytes(5000), "NOT_AUDIO", "nothing but zero bytes"),
        (b"\x8e\x36\x38\x60" * 500, "NOT_AUDIO", "8e 36 38 60"),
        (b"RIFF\x24\x00\x00\x00WAVE", "HEADER_INVALID", "begins like WAV"),
        (wav_bytes(TONE[:0], RATE_HZ), "DECODED_EMPTY", "no samples"),
    ],
)
def test_what_is_no_audio_is_told_apart_in_words(
    tmp_path: Path, content: bytes, error_class: str, said: str
) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    error = failure(tmp_path / "a.wav")
    assert error.error_class == error_class
    assert said in str(error)


@pytest.mark.parametrize(
    "lure",
    [
        "ffconcat version 1.0\nfile secret.wav\n",
        "\ufeff\nffconcat version 1.0\nfile secret.wav\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nsecret.wav\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
    ],
)
def test_a_lure_under_an_audio_name_does_not_lead_to_another_file(
    tmp_path: Path, lure: str
) -> None:
    wav(tmp_path / "secret.wav")
    (tmp_path / "a.mp3").write_text(lure)
    assert failure(tmp_path / "a.mp3").error_class == "NOT_AUDIO"


def test_names_that_mean_something_to_ffmpeg_are_only_names(tmp_path: Path) -> None:
    for name in ("concat:x.wav", "-i.wav", "a%03d?#.wav", "data:,x.wav", "名 前.wav"):
        assert decode(wav(tmp_path / name))["decoded_s"] == 4.0


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.wav")
    os.symlink("loop.wav", tmp_path / "loop.wav")
    for name in ("fifo.wav", "loop.wav", "missing.wav", "."):
        assert failure(tmp_path / name).error_class == "UNREADABLE"


def test_a_video_without_sound_has_no_audio_stream(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
        container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    error = failure(tmp_path / "a.mp4")
    assert error.error_class == "NO_AUDIO_STREAM"
    assert "video" in str(error)


def test_limits_hold_on_what_comes_out_of_the_decoder(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", np.zeros(RATE_HZ * 20))
    error = failure(path, max_hours=0.001)
    assert error.error_class == "TOO_LONG"
    assert "wanted at most 4 s" in str(error)
    long = wav(tmp_path / "b.wav", np.zeros(RATE_HZ * 300))
    assert failure(long, max_decoded_mb=16).error_class == "TOO_LONG"
    stereo = wav(tmp_path / "c.wav", np.stack([TONE] * 2))
    assert failure(stereo, max_channels=1).error_class == "TOO_MANY_CHANNELS"


@pytest.mark.parametrize(
    "wrong",
    [{"max_hours": 14_400}, {"max_hours": 0}, {"max_decoded_mb": 4}, {"on_damage": "ignore"}],
)
def test_a_parameter_in_another_unit_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PyavDecode.Spec(**wrong)


def test_a_file_that_harms_its_decoder_fails_and_the_next_one_does_not(tmp_path: Path) -> None:
    stage = PyavDecode(PyavDecode.Spec(wall_s_per_file=1))
    stage.decoder = IsolatedDecoder("tests.stages.decoding.hostile:read")
    for name, error_class, said in (
        ("segfault", "CRASH", "segfault: its decoder died of SIGSEGV, 2 times"),
        (
            "sleep",
            "TIMEOUT",
            "sleep: its decoder gave no answer in time and was killed (limit 1 s)",
        ),
    ):
        path = wav(tmp_path / name)
        with pytest.raises(ItemError) as raised:
            stage.process(Recording("s", "r", str(path), {"path": str(path)}))
        assert raised.value.error_class == error_class
        assert said in str(raised.value)
    path = wav(tmp_path / "good.wav")
    verdict = stage.process(Recording("s", "r", str(path), {"path": str(path)}))
    assert verdict.values["decoded_s"] == 4.0
    stage.close()
    assert stage.decoder.child is None


def test_every_recording_of_the_collection_has_the_length_its_manifest_states() -> None:
    if not SHARED_AUDIO.is_dir():
        pytest.skip("the shared collection of recordings is not here")
    failures = {}
    with (SHARED_AUDIO / "manifest.csv").open() as file:
        for row in csv.DictReader(file):
            try:
                values = decode(SHARED_AUDIO / row["path"])
            except ItemError as error:
                failures[row["path"]] = error.error_class
                continue
            assert values["decoded_s"] == pytest.approx(float(row["seconds"]), abs=0.1), row["path"]
            assert values["source_channels"] == int(row["channels"]), row["path"]
            assert values["decode_flags"] == [], row["path"]
    assert failures == {
        "edge-cases/not-audio.wav": "NOT_AUDIO",
        "edge-cases/zero-samples.wav": "DECODED_EMPTY",
    }
