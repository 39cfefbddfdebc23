"""H. Small files that cost a day: of audio, of memory, or of work."""

import io
import struct
import tarfile
import zlib

from benchmarks.malformed import encoded
from benchmarks.malformed.formats import flac, mp4, ogg, wav
from benchmarks.malformed.kind import Kind, failed, flagged, from_bytes

_FAMILY = "bombs"
_DAY_S = 86_400
_DTX_PACKET = b"\x18"  # Opus: 60 ms of narrow-band SILK, mono, and not a byte of it: silence
_DTX_S = 0.06
_OPUS_HZ = 48_000
_SERIAL = 7


def _flac_day() -> bytes:
    rate_hz, block = 16_000, flac.LONGEST_BLOCK
    total = _DAY_S * rate_hz
    head = flac.stream_info(rate_hz=rate_hz, total_samples=total, block=block)
    return head + b"".join(flac.silent_frame(n, block) for n in range(total // block))


def _opus_day() -> bytes:
    per_page = ogg.MOST_SEGMENTS
    count = round(_DAY_S / _DTX_S / per_page)
    step = round(per_page * _DTX_S * _OPUS_HZ)
    audio = [
        ogg.of_packets(
            [_DTX_PACKET] * per_page, granule=(n + 1) * step, serial=_SERIAL, sequence=n + 2
        )
        for n in range(count)
    ]
    return ogg.pages_to_bytes([*_opus_headers(_SERIAL), *audio])


def _opus_headers(serial: int) -> list[ogg.Page]:
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 0, _OPUS_HZ, 0, 0)
    tags = b"OpusTags" + struct.pack("<I", 4) + b"none" + struct.pack("<I", 0)
    return [
        ogg.of_packets([head], granule=0, serial=serial, sequence=0),
        ogg.of_packets([tags], granule=0, serial=serial, sequence=1),
    ]


def _many_streams() -> bytes:
    pages = [_opus_headers(serial)[0] for serial in range(1, 20_001)]
    return ogg.pages_to_bytes(pages) + ogg.with_serial(encoded.opus(), 20_001)


def _sample_count() -> bytes:
    """An index that claims 2^28 samples of 1 byte each, and no table of them."""

    def absurd(_: bytes) -> bytes:
        return struct.pack(">III", 0, 1, 1 << 28)

    path = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsz")
    return mp4.change(encoded.m4a(), path, absurd)


def _gzip() -> bytes:
    """64 MB of zero bytes, by hand: the module gzip would write the date."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()


def _tar_terabyte() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        header = tarfile.TarInfo("a.wav")
        header.size = 1 << 40
        archive.fileobj.write(header.tobuf(tarfile.GNU_FORMAT))
    return out.getvalue()


def _tar_members() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for number in range(2000):
            archive.addfile(tarfile.TarInfo(f"../{number}.wav"))
    return out.getvalue()


KINDS: tuple[Kind, ...] = (
    from_bytes(
        _FAMILY, "flac-day", "flac", "24 h of silence in 370 KB", _flac_day, failed("TOO_LONG")
    ),
    from_bytes(
        _FAMILY,
        "opus-day",
        "opus",
        "24 h of discontinuous transmission in 3 MB",
        _opus_day,
        failed("TOO_LONG"),
    ),
    from_bytes(
        _FAMILY,
        "wav-1-hz",
        "wav",
        "128 KB at a stated rate of 1 Hz: 17.8 h",
        lambda: wav.simple(rate_hz=1),
        failed("HEADER_INVALID", "TOO_LONG"),
    ),
    from_bytes(
        _FAMILY,
        "m4a-sample-count",
        "m4a",
        "the index claims 2^28 samples",
        _sample_count,
        flagged("TRUNCATED DECODE_ERROR DURATION_MISMATCH", (0.1, 4.1)).or_failed(
            "HEADER_INVALID", "DECODED_EMPTY", "DECODE_ERROR", "TRUNCATED", "OOM_ITEM"
        ),
    ),
    from_bytes(
        _FAMILY,
        "ogg-20000-streams",
        "opus",
        "20,000 streams announced in front of the one with audio",
        _many_streams,
        failed("OOM_ITEM", "HEADER_INVALID", "DECODED_EMPTY"),
    ),
    from_bytes(
        _FAMILY, "gzip", "wav", "64 MB of zero bytes in 64 KB of gzip", _gzip, failed("NOT_AUDIO")
    ),
    from_bytes(
        _FAMILY,
        "tar-terabyte",
        "wav",
        "a tar archive whose only member claims 1 TiB",
        _tar_terabyte,
        failed("NOT_AUDIO", "HEADER_INVALID"),
    ),
    from_bytes(
        _FAMILY,
        "tar-members",
        "wav",
        "a tar archive of 2,000 empty members that all climb out of the folder",
        _tar_members,
        failed("NOT_AUDIO", "HEADER_INVALID"),
    ),
)
