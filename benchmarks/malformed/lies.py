"""E. Headers that promise what is not there, and names that promise another format."""

import struct
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.malformed import encoded
from benchmarks.malformed.formats import flac, mp3, ogg, wav
from benchmarks.malformed.kind import Expected, Kind, clean, failed, from_bytes, salvaged
from benchmarks.malformed.voice import SECONDS, voice

_FAMILY = "lies"
_LARGEST_36_BITS = (1 << 36) - 1
_NO_SUCH_HEADER = failed("HEADER_INVALID", "UNSUPPORTED_CODEC")


def _wav(name: str, how: str, expected: Expected, **fields: Any) -> Kind:
    """The voice as 16-bit samples under a header of these fields."""
    return from_bytes(_FAMILY, name, "wav", how, lambda: wav.simple(**fields), expected)


def _channels(count: int, seconds: float = SECONDS) -> bytes:
    """A file in which every channel has the voice."""
    return wav.simple(wav.pcm16(np.tile(voice(seconds=seconds), (count, 1))), channels=count)


def _mp3_in_wav(data: bytes) -> bytes:
    extra = struct.pack("<HIHHH", 1, 2, 144, 1, 1393)  # MPEGLAYER3WAVEFORMAT
    return wav.riff(
        wav.fmt(tag=wav.MP3, bits=0, block=1, byte_rate=4000, extra=extra), wav.chunk(b"data", data)
    )


def _ima_adpcm() -> bytes:
    head = wav.fmt(tag=wav.IMA_ADPCM, bits=4, block=1, extra=struct.pack("<H", 65_535))
    return wav.riff(head, wav.chunk(b"data", np.random.default_rng(2).bytes(32_000)))


def _ogg_granule() -> bytes:
    pages = ogg.pages_of(encoded.opus())
    return ogg.pages_to_bytes([*pages[:-1], replace(pages[-1], granule=1 << 40)])


def _aiff(stated_frames: int) -> bytes:
    rate = struct.pack(">HQ", 16_383 + 13, 16_000 << 50)  # 80-bit float: 2^13 * 16000 / 2^13
    common = struct.pack(">hIh", 1, stated_frames, 16) + rate
    data = bytes(8) + np.frombuffer(wav.pcm16(), "<i2").astype(">i2").tobytes()
    body = b"AIFFCOMM" + struct.pack(">I", len(common)) + common
    body += b"SSND" + struct.pack(">I", len(data)) + data
    return b"FORM" + struct.pack(">I", len(body)) + body


def _au(stated_bytes: int) -> bytes:
    data = np.frombuffer(wav.pcm16(), "<i2").astype(">i2").tobytes()
    return b".snd" + struct.pack(">IIIII", 24, stated_bytes, 3, 16_000, 1) + data


KINDS: tuple[Kind, ...] = (
    from_bytes(
        _FAMILY,
        "wav-size-unknown",
        "wav",
        "the data chunk says ffffffff bytes, as streams do",
        lambda: wav.with_stated_size(wav.UNKNOWN_SIZE),
        clean(),
        voice=True,
    ),
    from_bytes(
        _FAMILY,
        "wav-size-zero",
        "wav",
        "the data chunk says 0 bytes, as a recorder that lost power leaves it",
        lambda: wav.with_stated_size(0),
        clean(may_flag="DURATION_MISMATCH"),
        voice=True,
    ),
    from_bytes(
        _FAMILY,
        "wav-size-100-times",
        "wav",
        "the data chunk says a hundred times as many bytes",
        lambda: wav.with_stated_size(12_800_000),
        salvaged("TRUNCATED", (3.9, 4.1)),
        voice=True,
    ),
    from_bytes(
        _FAMILY,
        "wav-size-half",
        "wav",
        "the data chunk says half as many bytes, as a recorder that died between two updates of it",
        lambda: wav.with_stated_size(64_000),
        salvaged("DURATION_MISMATCH", (1.99, 2.01)),
        voice=True,
    ),
    from_bytes(
        _FAMILY, "rf64", "wav", "RF64 that tells the truth", lambda: wav.rf64(128_000), clean()
    ),
    from_bytes(
        _FAMILY,
        "rf64-terabyte",
        "wav",
        "RF64 that claims 1 TiB of samples",
        lambda: wav.rf64(1 << 40),
        salvaged("TRUNCATED", (3.9, 4.1)),
        voice=True,
    ),
    _wav(
        "channels-0",
        "no channel",
        failed("HEADER_INVALID", "DECODED_EMPTY", "NO_AUDIO_STREAM", "UNSUPPORTED_CODEC"),
        channels=0,
    ),
    _wav(
        "channels-65535",
        "65,535 channels over the data of one",
        failed("TOO_MANY_CHANNELS", "HEADER_INVALID", "DECODED_EMPTY"),
        channels=65_535,
    ),
    from_bytes(
        _FAMILY,
        "channels-16",
        "wav",
        "16 real channels",
        lambda: _channels(16),
        clean(),
        voice=True,
    ),
    from_bytes(
        _FAMILY,
        "channels-64",
        "wav",
        "64 real channels",
        lambda: _channels(64, 0.5),
        failed("TOO_MANY_CHANNELS"),
    ),
    from_bytes(
        _FAMILY,
        "channels-255",
        "wav",
        "255 real channels",
        lambda: _channels(255, 0.5),
        failed("TOO_MANY_CHANNELS"),
    ),
    _wav("rate-0", "0 Hz", failed("HEADER_INVALID"), rate_hz=0),
    _wav(
        "rate-768000",
        "768 kHz over the data of 16: all of it is there, in a 48th of the time",
        clean((0.07, 0.1)),
        rate_hz=768_000,
    ),
    _wav("rate-largest", "2^32 - 1 Hz", failed("HEADER_INVALID"), rate_hz=2**32 - 1),
    _wav("bits-0", "samples of no bits", _NO_SUCH_HEADER, bits=0, block=2),
    _wav("bits-7", "samples of 7 bits over 16-bit data", _NO_SUCH_HEADER, bits=7, block=2),
    _wav("bits-33", "samples of 33 bits over 16-bit data", _NO_SUCH_HEADER, bits=33, block=2),
    _wav(
        "block-align",
        "7 bytes a moment where one channel of 16 bits takes 2",
        clean().or_failed("HEADER_INVALID"),
        block=7,
    ),
    _wav("tag-unknown", "codec tag ffff", failed("UNSUPPORTED_CODEC"), tag=0xFFFF),
    from_bytes(
        _FAMILY,
        "tag-mp3-over-pcm",
        "wav",
        "codec tag of MP3 over 16-bit samples",
        lambda: _mp3_in_wav(wav.pcm16()),
        failed("DECODED_EMPTY", "DECODE_ERROR", "HEADER_INVALID", "UNSUPPORTED_CODEC"),
    ),
    from_bytes(
        _FAMILY,
        "mp3-in-wav",
        "wav",
        "MP3 frames in a WAV file with the tag of MP3, which is allowed",
        lambda: _mp3_in_wav(mp3.without_length(encoded.mp3())),
        clean(4.1),
        voice=True,
    ),
    from_bytes(
        _FAMILY,
        "ima-adpcm-absurd",
        "wav",
        "IMA-ADPCM with blocks of 1 byte that hold 65,535 samples each",
        _ima_adpcm,
        failed("HEADER_INVALID", "DECODED_EMPTY", "DECODE_ERROR", "UNSUPPORTED_CODEC"),
    ),
    from_bytes(
        _FAMILY,
        "flac-length",
        "flac",
        "STREAMINFO claims 2^36 - 1 samples: 49 days",
        lambda: flac.with_total_samples(encoded.flac(), _LARGEST_36_BITS),
        salvaged("TRUNCATED", (3.9, 4.1)),
        voice=True,
    ),
    from_bytes(
        _FAMILY,
        "flac-length-short",
        "flac",
        "STREAMINFO claims one second of the four",
        lambda: flac.with_total_samples(encoded.flac(), 16_000),
        salvaged("DURATION_MISMATCH", (3.9, 4.1)),
        voice=True,
    ),
    from_bytes(
        _FAMILY,
        "xing-frames",
        "mp3",
        "the Xing frame claims a hundred times the frames",
        lambda: mp3.with_stated_frames(encoded.mp3(), 100),
        salvaged("TRUNCATED", (3.8, 4.3)),
        voice=True,
    ),
    from_bytes(
        _FAMILY,
        "xing-frames-short",
        "mp3",
        "the Xing frame claims half the frames",
        lambda: mp3.with_stated_frames(encoded.mp3(), 0.5),
        salvaged("DURATION_MISMATCH", (3.8, 4.3)),
        voice=True,
    ),
    from_bytes(
        _FAMILY,
        "mp3-vbr-without-xing",
        "mp3",
        "variable rate and no Xing frame: nothing says how long it is",
        lambda: mp3.without_length(
            encoded.encode(
                voice(),
                16_000,
                "mp3",
                "libmp3lame",
                codec_options={"flags": "+bitexact+qscale", "global_quality": "600"},
            )
        ),
        clean(4.1),
        voice=True,
    ),
    from_bytes(
        _FAMILY,
        "id3-size",
        "mp3",
        "the ID3 tag claims 256 MB, far behind the end of the file",
        lambda: mp3.id3(stated=(1 << 28) - 1) + encoded.mp3(),
        clean(may_flag="DURATION_MISMATCH").or_failed(
            "HEADER_INVALID", "NOT_AUDIO", "TRUNCATED", "DECODED_EMPTY"
        ),
    ),
    from_bytes(
        _FAMILY,
        "ogg-granule",
        "opus",
        "the last page claims sample 2^40: 265 days",
        _ogg_granule,
        salvaged("TRUNCATED", (3.9, 4.1)),
        voice=True,
    ),
    from_bytes(
        _FAMILY,
        "aiff-frames",
        "aiff",
        "the COMM chunk claims 2^31 frames",
        lambda: _aiff(1 << 31),
        clean(may_flag="TRUNCATED").or_failed("HEADER_INVALID"),
    ),
    from_bytes(
        _FAMILY,
        "au-size-unknown",
        "au",
        "the header says ffffffff bytes, as streams do",
        lambda: _au(0xFFFFFFFF),
        clean(),
        voice=True,
    ),
    from_bytes(
        _FAMILY,
        "mp3-named-wav",
        "wav",
        "MP3 under another ending",
        encoded.mp3,
        clean(),
        voice=True,
    ),
    from_bytes(
        _FAMILY,
        "wav-named-flac",
        "flac",
        "WAV under another ending",
        wav.simple,
        clean(),
        voice=True,
    ),
)
