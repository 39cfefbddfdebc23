"""G. What files hold beside one stream of audio, and formats that are seldom met."""

import numpy as np

from benchmarks.malformed import encoded
from benchmarks.malformed.formats import mp3
from benchmarks.malformed.kind import Kind, clean, failed, from_bytes
from benchmarks.malformed.not_audio import png
from benchmarks.malformed.voice import voice

_FAMILY = "containers"
_KEY = "00112233445566778899aabbccddeeff"
_CENC = {
    "encryption_scheme": "cenc-aes-ctr",
    "encryption_key": _KEY,
    "encryption_kid": _KEY[::-1],
}


def _format(
    name: str, ending: str, rate_hz: int, container: str, codec: str, bit_rate: int | None = None
) -> Kind:
    return from_bytes(
        _FAMILY,
        name,
        ending,
        f"a whole file of {codec} in {container}",
        lambda: encoded.encode(voice(rate_hz), rate_hz, container, codec, bit_rate=bit_rate),
        clean(),
        voice=True,
    )


def _mp3_with_cover() -> bytes:
    picture = mp3.id3_frame(b"APIC", b"\0image/png\0\x03\0" + png())
    return mp3.id3(picture) + encoded.mp3()[mp3.id3_size(encoded.mp3()) :]


KINDS: tuple[Kind, ...] = (
    from_bytes(
        _FAMILY,
        "video-only",
        "mp4",
        "a video without sound",
        lambda: encoded.pictures_and_sound("mp4", "mpeg4", None),
        failed("NO_AUDIO_STREAM"),
    ),
    from_bytes(
        _FAMILY,
        "video-with-sound",
        "mp4",
        "a video whose second stream is the voice",
        lambda: encoded.pictures_and_sound("mp4", "mpeg4", "aac"),
        clean(),
        voice=True,
    ),
    from_bytes(
        _FAMILY,
        "two-tracks",
        "mka",
        "two tracks of the voice: the first is taken",
        lambda: encoded.encode(voice(48_000), 48_000, "matroska", "flac", tracks=2),
        clean(),
        voice=True,
    ),
    from_bytes(
        _FAMILY,
        "start-offset",
        "mka",
        "the voice begins at 5 s; the gap may be left out or filled",
        lambda: encoded.encode(voice(48_000), 48_000, "matroska", "flac", start_s=5.0),
        clean((3.85, 9.15)),
    ),
    from_bytes(
        _FAMILY,
        "cover-first",
        "m4a",
        "a cover picture as the first stream, the voice as the second",
        lambda: encoded.pictures_and_sound("mp4", "mjpeg", "aac", cover=True),
        clean(),
        voice=True,
    ),
    from_bytes(
        _FAMILY,
        "mp3-cover",
        "mp3",
        "a cover picture in the ID3 tag",
        _mp3_with_cover,
        clean(),
        voice=True,
    ),
    from_bytes(
        _FAMILY,
        "encrypted",
        "mp4",
        "AAC encrypted by Common Encryption (AES-CTR); nobody has the key",
        lambda: encoded.encode(voice(44_100), 44_100, "mp4", "aac", container_options=_CENC),
        failed("UNSUPPORTED_CODEC", "DECODED_EMPTY", "DECODE_ERROR"),
    ),
    _format("wma", "wma", 44_100, "asf", "wmav2", 64_000),
    _format("ac3", "ac3", 48_000, "ac3", "ac3"),
    _format("alac", "caf", 44_100, "caf", "alac"),
    _format("au", "au", 16_000, "au", "pcm_s16be"),
    _format("adts", "aac", 44_100, "adts", "aac"),
    _format("webm", "webm", 48_000, "webm", "libopus"),
    _format("matroska-mp3", "mkv", 44_100, "matroska", "libmp3lame"),
    _format("amr", "amr", 8_000, "amr", "libopencore_amrnb"),
    _format("w64", "w64", 16_000, "w64", "pcm_s16le"),
    from_bytes(
        _FAMILY,
        "stereo-vorbis",
        "ogg",
        "Vorbis in stereo, whole",
        lambda: encoded.encode(np.stack([voice(44_100)] * 2), 44_100, "ogg", "vorbis"),
        clean(),
        voice=True,
    ),
)
