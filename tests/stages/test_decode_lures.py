"""Files that would lead a player elsewhere: nothing but the file itself is ever opened."""

import ctypes
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from schemas.errors import ItemError
from stages.decode import decode_file
from tests.stages.media_files import sine, wav_bytes

IN_OPEN = 0x20
LURES = {
    "concat": "ffconcat version 1.0\nfile secret.wav\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{folder}/secret.wav\n#EXT-X-ENDLIST\n",
    "hls of the network": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n"
    "http://127.0.0.1:{port}/secret.ts\n#EXT-X-ENDLIST\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=audio {port} RTP/AVP 0\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
    "<Period><AdaptationSet><Representation><BaseURL>{folder}/secret.wav</BaseURL>"
    "</Representation></AdaptationSet></Period></MPD>",
}


@contextmanager
def opened_files(folder: Path) -> Iterator[Callable[[], list[str]]]:
    """A function that lists the names in a folder that anybody opened since it last answered."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    libc.inotify_add_watch(watch, os.fsencode(folder), IN_OPEN)

    def names() -> list[str]:
        try:
            events = os.read(watch, 1 << 16)
        except BlockingIOError:
            return []
        found, at = [], 0
        while at < len(events):  # 16 bytes of event, of which the last 4 are the name's length
            length = int.from_bytes(events[at + 12 : at + 16], "little")
            found.append(events[at + 16 : at + 16 + length].rstrip(b"\0").decode())
            at += 16 + length
        return found

    try:
        yield names
    finally:
        os.close(watch)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    path = tmp_path / "secret.wav"
    path.write_bytes(wav_bytes(sine(2, 16_000), 16_000))
    return path


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def refusal(path: Path) -> ItemError:
    with pytest.raises(ItemError) as raised:
        decode_file(path, max_s=60, max_bytes=1 << 26, max_channels=8)
    return raised.value


@pytest.mark.parametrize("sniffed", [True, False])
@pytest.mark.parametrize("ending", ["mp3", "wav", "m3u8"])
@pytest.mark.parametrize("lure", LURES)
def test_a_lure_is_refused_and_leads_nowhere(
    tmp_path: Path,
    canary: Path,
    listener: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    lure: str,
    ending: str,
    sniffed: bool,
) -> None:
    if not sniffed:  # FFmpeg itself must refuse what the look at the first bytes lets through
        monkeypatch.setattr("stages.decoding.input_file.foreign_kind", lambda head: None)
    path = tmp_path / f"lure.{ending}"
    port = listener.getsockname()[1]
    path.write_text(LURES[lure].format(folder=tmp_path, port=port))
    with opened_files(tmp_path) as names:
        error = refusal(path)
        assert set(names()) == {path.name}
    assert error.error_class == "NOT_AUDIO"
    assert path.name in str(error)
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_the_canary_sings_where_nobody_guards_it(tmp_path: Path, canary: Path) -> None:
    import av

    path = tmp_path / "lure.mp3"
    path.write_text(LURES["concat"])
    with opened_files(tmp_path) as names, av.open(str(path)) as container:
        next(container.decode(audio=0))
        assert canary.name in names()
