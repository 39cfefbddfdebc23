"""Ogg pages as they stand in the file, also those whose checksum is wrong.

FFmpeg leaves such pages out without a word and takes the length of a stream from the pages that it
believes: where nearly all are damaged, a file of minutes claims the second that is left of it. A
flipped bit seldom falls into the few bytes of a page's header, so these still tell the length.
Layout of a page: RFC 3533, section 6.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_HEAD = struct.Struct("<4sBBQIIIB")
_LONGEST_PAGE = 65_307
_BEGINS_STREAM = 2
_AUDIO = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ")
"""First bytes of the first packet of streams whose granules count samples."""
_MOST_HEADER_PAGES = 1000  # a cover picture in the comments takes some tens of them
_MOST_GRANULES = 1 << 63  # from here on negative: -1 stands for a page on which no packet ends

_MOST_SAMPLES_PER_BYTE = 8192
"""FLAC comes closest: 65,535 silent samples take 14 bytes with the one in the page's table: 4700
a byte. The least packets of two bytes hold 5760 in Opus and 4096 in Vorbis. What is longer was
never encoded: one flipped bit of a granule may claim three million years."""


@dataclass(frozen=True, slots=True)
class OggPage:
    """The header of a page. `granule` counts samples up to its end; None where no packet ends."""

    serial: int
    granule: int | None
    begins_stream: bool
    body: int
    """Place of the first byte behind its header, in what was looked at."""
    end: int
    """Place behind its last byte, as its header states it."""


def ends_inside_ogg_page(file: BinaryIO) -> bool:
    """Whether an Ogg file stops before its last page does, which its time stamps cannot tell."""
    tail = _tail(file)
    at = tail.rfind(b"OggS")
    page = _page_at(tail, at) if at >= 0 else None
    return page is None or page.end > len(tail)


def ogg_audio_granules(file: BinaryIO) -> tuple[int, int] | None:
    """Granules of the first and of the last page of the first audio stream, damaged ones included.

    A last page that claims more than a file of that size can hold is passed over for the one
    before. None where no such stream begins at the front, or it does not reach the end of the file.
    """
    serial = first = None
    for page, packet in _pages_in_front(file):
        if serial is None and page.begins_stream and packet.startswith(_AUDIO):
            serial = page.serial
        elif page.serial == serial and page.granule:
            first = page.granule
            break
    if serial is None or first is None:
        return None
    tail = _tail(file)
    at = len(tail)
    most = first + file.seek(0, 2) * _MOST_SAMPLES_PER_BYTE
    while (at := tail.rfind(b"OggS", 0, at)) >= 0:
        last = _page_at(tail, at)
        if last is None or last.serial != serial or last.granule is None:
            continue
        if last.granule <= most:
            return first, last.granule
    return None


def _pages_in_front(file: BinaryIO) -> Iterator[tuple[OggPage, bytes]]:
    """Pages one behind the other, with the first bytes of their bodies, until one is not there."""
    at = 0
    for _ in range(_MOST_HEADER_PAGES):
        file.seek(at)
        head = file.read(_HEAD.size + 255 + 8)
        page = _page_at(head, 0)
        if page is None:
            return
        yield page, head[page.body : page.body + 8]
        at += page.end


def _page_at(content: bytes, at: int) -> OggPage | None:
    """The page whose header begins there; None if no whole header does."""
    if at + _HEAD.size > len(content):
        return None
    capture, version, kind, granule, serial, _, _, num_segments = _HEAD.unpack_from(content, at)
    body = at + _HEAD.size + num_segments
    if capture != b"OggS" or version != 0 or body > len(content):
        return None
    end = body + sum(content[at + _HEAD.size : body])
    granule = granule if granule < _MOST_GRANULES else None
    return OggPage(serial, granule, bool(kind & _BEGINS_STREAM), body, end)


def _tail(file: BinaryIO) -> bytes:
    """The end of a file: twice the longest page there can be."""
    size = file.seek(0, 2)
    file.seek(max(0, size - 2 * _LONGEST_PAGE))
    return file.read(2 * _LONGEST_PAGE)
