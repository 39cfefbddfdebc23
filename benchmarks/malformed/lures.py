"""J. Files and references that would lead a player to other files, or onto the network.

What they are after lies beside them: nobody may read `canary.ts` or `canary.m3u`, and nobody may
connect to the port.
"""

import base64
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from functools import cache

from benchmarks.malformed import encoded
from benchmarks.malformed.formats import mp3, mp4, wav
from benchmarks.malformed.kind import Expected, Kind, Setting, clean, failed
from benchmarks.malformed.voice import voice

_FAMILY = "lures"
CANARIES = ("canary.ts", "canary.m3u")
"""Names that the lures are after. No ending of these is listed as audio."""
_REFUSED = failed("NOT_AUDIO")
_HTTP = "http://127.0.0.1:{port}/canary.ts"
_MEDIA = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{target}\n#EXT-X-ENDLIST\n"
_MASTER = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=64000\n{target}\n"
_CONCAT = "ffconcat version 1.0\nfile {target}\n"
_SDP = (
    "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=lure\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n"
)
_DASH = (
    '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
    '<Period><AdaptationSet mimeType="audio/mp2t"><Representation id="1" bandwidth="64000">'
    "<BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>\n"
)


@cache
def _canary() -> bytes:
    """A transport stream: what playlists play."""
    return encoded.encode(voice(44_100), 44_100, "mpegts", "aac")


def place_canaries(setting: Setting) -> None:
    """Writes what a lure is after into its folder."""
    folder = setting.path.parent
    (folder / CANARIES[0]).write_bytes(_canary())
    (folder / CANARIES[1]).write_text(_MEDIA.format(target=CANARIES[0]), encoding="utf-8")


def _lure(
    name: str,
    ending: str,
    how: str,
    text: str,
    target: str = "",
    *,
    expected: Expected = _REFUSED,
    wrap: Callable[[bytes], bytes] = lambda content: content,
) -> Kind:
    """A file of `text`, its `{target}` a reference; the folder and the port are filled in.

    The listing leaves playlists alone by their ending, unless the job asks for them.
    """
    expected = replace(expected, unlisted=ending == "m3u8")

    def make(setting: Setting) -> None:
        place_canaries(setting)
        places = {"folder": setting.path.parent.as_posix(), "port": setting.port}
        content = text.format(target=target.format(**places), **places)
        setting.path.write_bytes(wrap(content.encode()))

    return Kind(
        name=f"{_FAMILY}/{name}",
        family=_FAMILY,
        file=f"{name}.{ending}",
        how=how,
        make=make,
        expected=expected,
    )


def _reference(name: str, how: str, uri: str) -> Kind:
    return Kind(
        name=f"{_FAMILY}/{name}",
        family=_FAMILY,
        file="",
        how=how,
        make=place_canaries,
        expected=Expected(classes=frozenset({"UNREADABLE", "FORBIDDEN_URI"}), unlisted=True),
        uri=uri,
    )


def _behind_id3(content: bytes) -> bytes:
    """FFmpeg skips an ID3 tag before it looks at what a file is."""
    return mp3.id3(mp3.id3_frame(b"TIT2", b"\0Song")) + content


def _mov_with_reference(target: bytes) -> bytes:
    """M4A whose samples are said to lie in another file, by a Macintosh alias record."""
    volume = bytes(10) + bytes([4]) + b"disk".ljust(27, b"\0") + bytes(12)
    name = bytes([9]) + b"canary.ts".ljust(63, b"\0")
    path = struct.pack(">hh", 2, len(target)) + target + bytes(len(target) % 2)  # 2: whole path
    alias = volume + name + bytes(16) + struct.pack(">hh", -1, -1) + bytes(16) + path
    end = struct.pack(">hh", -1, 0)
    entry = mp4.box(b"alis", bytes(4) + alias + end)  # flags 0: not in this file

    def elsewhere(_: bytes) -> bytes:
        return bytes(4) + struct.pack(">I", 1) + entry

    where = (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref")
    return mp4.change(encoded.m4a(), where, elsewhere)


def _mov_reference() -> Kind:
    def make(setting: Setting) -> None:
        place_canaries(setting)
        target = setting.path.parent / CANARIES[0]
        setting.path.write_bytes(_mov_with_reference(os.fsencode(target)))

    return Kind(
        name=f"{_FAMILY}/mov-reference",
        family=_FAMILY,
        file="mov-reference.m4a",
        how="M4A whose samples are said to lie in a sibling: its own may be taken",
        make=make,
        expected=clean().or_failed("DECODED_EMPTY", "DECODE_ERROR", "HEADER_INVALID"),
    )


def _link_out() -> Kind:
    def make(setting: Setting) -> None:
        setting.path.unlink(missing_ok=True)
        setting.path.symlink_to("/etc/passwd")

    return Kind(
        name=f"{_FAMILY}/link-out",
        family=_FAMILY,
        file="link-out.wav",
        how="a link to a file that is no part of the inputs",
        make=make,
        expected=failed("FORBIDDEN_URI"),
    )


KINDS: tuple[Kind, ...] = (
    _lure("hls-media-http", "m3u8", "an HLS playlist of a segment on the network", _MEDIA, _HTTP),
    _lure(
        "hls-media-file",
        "m3u8",
        "an HLS playlist of a sibling",
        _MEDIA,
        "file://{folder}/canary.ts",
    ),
    _lure("hls-master-http", "m3u8", "an HLS list of playlists on the network", _MASTER, _HTTP),
    _lure(
        "hls-master-file",
        "m3u8",
        "an HLS list of playlists, one of them a sibling",
        _MASTER,
        "file://{folder}/canary.m3u",
    ),
    _lure(
        "hls-as-mp3", "mp3", "an HLS playlist of a sibling by its bare name", _MEDIA, "canary.ts"
    ),
    _lure("ffconcat-relative", "mp3", "a concat script of a sibling", _CONCAT, "canary.ts"),
    _lure("ffconcat-absolute", "mp3", "a concat script, whole path", _CONCAT, "{folder}/canary.ts"),
    _lure("ffconcat-http", "mp3", "a concat script of the network", _CONCAT, _HTTP),
    _lure(
        "ffconcat-behind-mark",
        "mp3",
        "a concat script behind a byte order mark and a blank line",
        "\ufeff\n" + _CONCAT,
        "canary.ts",
    ),
    _lure(
        "ffconcat-behind-id3",
        "mp3",
        "a concat script behind an ID3 tag",
        _CONCAT,
        "canary.ts",
        expected=failed("NOT_AUDIO", "HEADER_INVALID", "DECODED_EMPTY", "NO_AUDIO_STREAM"),
        wrap=_behind_id3,
    ),
    _lure(
        "hls-behind-id3",
        "mp3",
        "an HLS playlist behind an ID3 tag",
        _MEDIA,
        "canary.ts",
        expected=failed("NOT_AUDIO", "HEADER_INVALID", "DECODED_EMPTY", "NO_AUDIO_STREAM"),
        wrap=_behind_id3,
    ),
    _lure("sdp", "wav", "a session description that opens a port and waits", _SDP),
    _lure("dash", "mp3", "a DASH manifest of a sibling", _DASH, "file://{folder}/canary.ts"),
    _mov_reference(),
    _link_out(),
    _reference(
        "uri-concat", "FFmpeg's concat protocol", "concat:{folder}/canary.ts|{folder}/canary.m3u"
    ),
    _reference(
        "uri-subfile",
        "FFmpeg's subfile protocol",
        "subfile,,start,0,end,0,,:{folder}/canary.ts",
    ),
    _reference(
        "uri-data",
        "a data: reference that holds a whole file",
        "data:audio/wav;base64," + base64.b64encode(wav.simple(bytes(200))).decode(),
    ),
    _reference("uri-http", "a file on the network", _HTTP),
)
