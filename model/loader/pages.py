"""The pages of a column chunk: found, held against their checksums, decompressed."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from model.loader.thrift import ThriftError, read_struct

DATA_PAGE, DICTIONARY_PAGE = 0, 2
_TYPE, _SIZE, _STORED_SIZE, _CRC, _DATA_HEADER, _DICTIONARY_HEADER = 1, 2, 3, 4, 5, 7
_NUM_VALUES, _ENCODING = 1, 2


class PageError(ValueError):
    """A page that is not as it was written; the message has no place in it."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page as the header says it is; `stored` is compressed and has passed its checksum."""

    kind: int
    size: int
    num_values: int
    encoding: int
    stored: memoryview

    def body(self, codec: str) -> memoryview:
        """Its bytes, decompressed; raises `PageError`."""
        if codec == "UNCOMPRESSED":
            return self.stored
        try:
            body = pa.Codec(codec.lower()).decompress(self.stored, self.size)
            return memoryview(body).cast("B")
        except (OSError, pa.ArrowException) as error:
            raise PageError(f"a page that does not decompress ({error})") from error


def pages_of(chunk: memoryview) -> Iterator[Page]:
    """The pages of a column chunk in order. Raises `PageError` for damage.

    A page without a checksum is refused as well: a file written without them cannot be trusted.
    """
    at = 0
    while at < len(chunk):
        try:
            header, start = read_struct(chunk, at)
            kind, size, stored_size = header[_TYPE], header[_SIZE], header[_STORED_SIZE]
        except (ThriftError, KeyError) as error:
            raise PageError(f"a page header that cannot be read ({error!r})") from error
        stored = chunk[start : start + stored_size]
        if stored_size < 0 or size < 0 or len(stored) != stored_size:
            raise PageError("a page that ends beyond its column")
        if _CRC not in header:
            raise PageError("a page without a checksum")
        if zlib.crc32(stored) != header[_CRC] & 0xFFFFFFFF:
            raise PageError("a page whose checksum disagrees")
        inner = _inner(header, kind)
        yield Page(kind, size, inner.get(_NUM_VALUES, 0), inner.get(_ENCODING, -1), stored)
        at = start + stored_size


def _inner(header: dict[int, Any], kind: int) -> dict[int, Any]:
    number = {DATA_PAGE: _DATA_HEADER, DICTIONARY_PAGE: _DICTIONARY_HEADER}.get(kind, 0)
    found: dict[int, Any] = header.get(number, {})
    return found
