"""Ogg pages: taken apart, changed and put together again with right checksums."""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

HEADER_BYTES = 27
MOST_SEGMENTS = 255
_POLYNOMIAL = 0x04C11DB7  # RFC 3533: no reflection, first and last value 0
_CHECKSUM_AT = 22

FIRST, LAST = 2, 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One page; the checksum is computed when it is written."""

    granule: int
    serial: int
    sequence: int
    flags: int = 0
    lacing: bytes
    payload: bytes

    def to_bytes(self) -> bytes:
        return pages_to_bytes([self])


def pages_of(content: bytes) -> list[Page]:
    """The pages of a sound file."""
    pages, at = [], 0
    while at < len(content):
        flags, granule, serial, sequence, _, count = struct.unpack_from("<BqIIIB", content, at + 5)
        lacing = content[at + HEADER_BYTES : at + HEADER_BYTES + count]
        start = at + HEADER_BYTES + count
        at = start + sum(lacing)
        pages.append(
            Page(
                granule=granule,
                serial=serial,
                sequence=sequence,
                flags=flags,
                lacing=lacing,
                payload=content[start:at],
            )
        )
    return pages


def of_packets(packets: Sequence[bytes], *, granule: int, serial: int, sequence: int) -> Page:
    """A page of whole packets, each shorter than 255 bytes."""
    return Page(
        granule=granule,
        serial=serial,
        sequence=sequence,
        flags=FIRST if sequence == 0 else 0,
        lacing=bytes(len(packet) for packet in packets),
        payload=b"".join(packets),
    )


def pages_to_bytes(pages: Iterable[Page]) -> bytes:
    """Pages with their checksums. Pages of one length are summed together, which is fast."""
    raw = [bytearray(_without_checksum(page)) for page in pages]
    by_length: dict[int, list[int]] = {}
    for number, page in enumerate(raw):
        by_length.setdefault(len(page), []).append(number)
    for numbers in by_length.values():
        table = np.frombuffer(b"".join(raw[n] for n in numbers), np.uint8)
        for number, checksum in zip(numbers, _crc32(table.reshape(len(numbers), -1)), strict=True):
            struct.pack_into("<I", raw[number], _CHECKSUM_AT, int(checksum))
    return b"".join(raw)


def with_serial(content: bytes, serial: int) -> bytes:
    """The same file as another logical stream, so that it can be chained to a first."""
    return pages_to_bytes(replace(page, serial=serial) for page in pages_of(content))


def _without_checksum(page: Page) -> bytes:
    head = struct.pack(
        "<4sBBqIIIB",
        b"OggS",
        0,
        page.flags,
        page.granule,
        page.serial,
        page.sequence,
        0,
        len(page.lacing),
    )
    return head + page.lacing + page.payload


def _crc_table() -> npt.NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32) << 24
    for _ in range(8):
        table = np.where(table >> 31, table << 1 ^ np.uint32(_POLYNOMIAL), table << 1)
    return table.astype(np.uint32)


_TABLE = _crc_table()


def _crc32(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """Checksum of every row of `[num_pages, num_bytes]`."""
    crc = np.zeros(len(rows), np.uint32)
    for column in rows.T:
        crc = crc << 8 ^ _TABLE[crc >> 24 ^ column]
    return crc
