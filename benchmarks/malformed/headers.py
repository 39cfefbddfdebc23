"""B. Files that end where the audio would begin."""

from benchmarks.malformed import encoded
from benchmarks.malformed.formats import flac, mp3, ogg, wav
from benchmarks.malformed.kind import Kind, failed, from_bytes

_FAMILY = "headers"
_NOTHING_THERE = failed("DECODED_EMPTY", "TRUNCATED", "HEADER_INVALID")


def _ogg_headers(content: bytes) -> bytes:
    """The pages that come before the first one with audio."""
    return ogg.pages_to_bytes(page for page in ogg.pages_of(content) if page.granule == 0)


def _xing_only() -> bytes:
    whole, rest = encoded.mp3(), mp3.without_length(encoded.mp3())
    return whole[: len(whole) - len(rest)]


KINDS: tuple[Kind, ...] = (
    from_bytes(
        _FAMILY,
        "wav-44-bytes",
        "wav",
        "a sound header with a data chunk of no bytes",
        lambda: wav.simple(b""),
        _NOTHING_THERE,
    ),
    from_bytes(
        _FAMILY,
        "wav-without-data",
        "wav",
        "RIFF and fmt, no data chunk",
        lambda: wav.riff(wav.fmt()),
        _NOTHING_THERE,
    ),
    from_bytes(
        _FAMILY,
        "wav-promise-without-data",
        "wav",
        "the header of four seconds, cut where the samples begin",
        lambda: wav.simple()[:44],
        _NOTHING_THERE,
    ),
    from_bytes(
        _FAMILY,
        "flac-streaminfo-only",
        "flac",
        "signature and STREAMINFO of four seconds, no frame",
        lambda: flac.stream_info(rate_hz=16_000, total_samples=64_000, block=4096),
        _NOTHING_THERE,
    ),
    from_bytes(
        _FAMILY,
        "ogg-headers-only",
        "ogg",
        "the three header packets of Vorbis, no page of audio",
        lambda: _ogg_headers(encoded.vorbis()),
        _NOTHING_THERE,
    ),
    from_bytes(
        _FAMILY,
        "opus-headers-only",
        "opus",
        "OpusHead and OpusTags, no page of audio",
        lambda: _ogg_headers(encoded.opus()),
        _NOTHING_THERE,
    ),
    from_bytes(
        _FAMILY,
        "mp3-xing-only",
        "mp3",
        "ID3 tag and Xing frame of four seconds, no frame of audio",
        _xing_only,
        _NOTHING_THERE,
    ),
)
