"""What may be opened, and what headers promise."""

from pathlib import Path

import numpy as np
import pytest

from stages.media import (
    FORMATS,
    OPEN_FILE_OPTIONS,
    OPEN_OPTIONS,
    audio_kind,
    ends_inside_ogg_page,
    foreign_kind,
    promised_over_held,
    states_length,
)
from tests.stages.media_files import encode, sine, wav_bytes

TONE = sine(2, 16_000)
LURES = {
    "concat": "ffconcat version 1.0\nfile secret.wav\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nsecret.wav\n#EXT-X-ENDLIST\n",
}


def states(container: str, path: Path) -> bool:
    with path.open("rb") as file:
        return states_length(container, file)


def promised(path: Path) -> float:
    with path.open("rb") as file:
        return promised_over_held(file)


def is_torn(path: Path) -> bool:
    with path.open("rb") as file:
        return ends_inside_ogg_page(file)


def test_the_format_whitelist_by_itself_stops_scripts_that_ffmpeg_would_follow(
    tmp_path: Path,
) -> None:
    import av

    (tmp_path / "secret.wav").write_bytes(wav_bytes(TONE, 16_000))
    for name, text in LURES.items():
        (tmp_path / f"{name}.mp3").write_text(text)
        with pytest.raises(av.FFmpegError):
            av.open(f"file:{tmp_path}/{name}.mp3", options=dict(OPEN_OPTIONS))
        with (tmp_path / f"{name}.mp3").open("rb") as file, pytest.raises(av.FFmpegError):
            av.open(file, options=dict(OPEN_FILE_OPTIONS))
    # The lure is a real one: without the whitelist the other file is opened.
    with av.open(f"file:{tmp_path}/concat.mp3") as container:
        assert container.format.name == "concat"


def test_no_demuxer_on_the_list_is_one_that_opens_other_files() -> None:
    assert not set(FORMATS) & {"concat", "hls", "dash", "sdp", "rtsp", "image2", "tee", "lavfi"}


def test_audio_is_not_taken_for_something_else(tmp_path: Path) -> None:
    heads = [
        wav_bytes(TONE, 16_000),
        encode(tmp_path / "a.mp3", TONE, 16_000, "libmp3lame").read_bytes(),
        encode(tmp_path / "a.flac", TONE, 16_000, "flac").read_bytes(),
        encode(tmp_path / "a.m4a", sine(1, 44_100), 44_100, "aac").read_bytes(),
        b"NIST_1A\n   1024\nchannel_count -i 1\n" + b" " * 400,
        b"#!AMR\n" + bytes(range(100)),
    ]
    assert [foreign_kind(head[:512]) for head in heads] == [None] * len(heads)
    kinds = [audio_kind(head[:512]) for head in heads]
    assert kinds == ["WAV", "MP3", "FLAC", "MP4", "SPHERE", "AMR"]


def test_an_mp3_states_its_length_only_with_a_frame_count(tmp_path: Path) -> None:
    with_count = encode(tmp_path / "a.mp3", TONE, 16_000, "libmp3lame")
    content = with_count.read_bytes()
    without = tmp_path / "b.mp3"
    without.write_bytes(content.replace(b"Info", b"\0\0\0\0").replace(b"Xing", b"\0\0\0\0"))
    assert states("mp3", with_count)
    assert not states("mp3", without)
    assert not states("aac", with_count)
    assert states("wav", with_count)


@pytest.mark.parametrize(("stated", "factor"), [(None, 1.0), (0, 1.0), (0xFFFFFFFF, 1.0)])
def test_a_size_that_is_right_or_open_promises_nothing_more(
    tmp_path: Path, stated: int | None, factor: float
) -> None:
    (tmp_path / "a.wav").write_bytes(wav_bytes(TONE, 16_000, stated_bytes=stated))
    assert promised(tmp_path / "a.wav") == factor


def test_a_64_bit_size_counts_where_the_32_bit_one_is_open(tmp_path: Path) -> None:
    content = wav_bytes(TONE, 16_000, stated_bytes=0xFFFFFFFF)
    sizes = b"".join(n.to_bytes(8, "little") for n in (0, 4 * TONE.nbytes, 0)) + bytes(4)
    ds64 = b"ds64" + len(sizes).to_bytes(4, "little") + sizes
    (tmp_path / "a.wav").write_bytes(b"RF64" + content[4:12] + ds64 + content[12:])
    # float64 samples became 16 bit: the promise of 4 x 8 bytes a sample is 16 times what is there
    assert promised(tmp_path / "a.wav") == 16.0


def test_an_odd_chunk_before_the_samples_does_not_hide_them(tmp_path: Path) -> None:
    content = wav_bytes(TONE, 16_000)
    odd = b"LIST" + (3).to_bytes(4, "little") + b"abc\0"
    torn = (content[:12] + odd + content[12:])[: 44 + 12 + len(TONE)]
    (tmp_path / "a.wav").write_bytes(torn)
    assert promised(tmp_path / "a.wav") == pytest.approx(2.0)


def test_an_ogg_file_that_stops_inside_a_page_is_seen(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = encode(tmp_path / "a.opus", rng.standard_normal(96_000) * 0.1, 48_000, "libopus")
    content = path.read_bytes()
    assert not is_torn(path)
    for missing in (1, 10, len(content) // 2):
        (tmp_path / "b.opus").write_bytes(content[:-missing])
        assert is_torn(tmp_path / "b.opus")
