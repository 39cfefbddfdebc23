"""What may be opened, and what headers promise."""

from pathlib import Path

import pytest

from stages.media import (
    FORMATS,
    OPEN_FILE_OPTIONS,
    OPEN_OPTIONS,
    audio_kind,
    foreign_kind,
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


def test_avi_is_not_opened_and_is_called_by_its_name(tmp_path: Path) -> None:
    import av

    path = encode(tmp_path / "a.avi", TONE, 16_000, "pcm_s16le")
    assert foreign_kind(path.read_bytes()[:512]) == "an AVI video"
    with path.open("rb") as file, pytest.raises(av.FFmpegError):
        av.open(file, options=dict(OPEN_FILE_OPTIONS))
    with av.open(str(path)) as container:  # without the whitelist it would be
        assert container.format.name == "avi"


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
