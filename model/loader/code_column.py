"""One `q` column of a row group, read into numpy.

The way pipelines write it (one dictionary, indices in the hybrid encoding, no nulls) is read here.
Anything else is Arrow's to read, which takes every Parquet there is and twice as long.
"""

# Shapes: F frames of the row group, N of them in a page.

import numpy as np

from model.loader.bit_packing import MAX_WIDTH, NO_CODE, Dictionary, read_hybrid
from model.loader.pages import DATA_PAGE, DICTIONARY_PAGE, PageError, pages_of
from schemas.codes import Codes

_PLAIN, _PLAIN_DICTIONARY, _RLE_DICTIONARY = 0, 2, 8
_LEVEL_BYTES = 4


def read_column(chunk: memoryview, codec: str, deepest: int, out_F: Codes) -> bool:
    """Fills `out_F` with the column's codes; False where that is Arrow's to do.

    `deepest` is the definition level of a value that is there. Raises `PageError` for damage.
    """
    if codec not in ("ZSTD", "UNCOMPRESSED"):
        return False
    codes: Codes | None = None
    found = 0
    for page in pages_of(chunk):
        if page.kind == DICTIONARY_PAGE and page.encoding in (_PLAIN, _PLAIN_DICTIONARY):
            codes = _dictionary(page.body(codec), page.num_values)
        elif page.kind == DATA_PAGE and page.encoding in (_PLAIN_DICTIONARY, _RLE_DICTIONARY):
            end = found + page.num_values
            if codes is None or end > len(out_F):
                return False
            if not _read_page(page.body(codec), codes, deepest, out_F[found:end]):
                return False
            found = end
        else:
            return False
    return found == len(out_F)


def _dictionary(body: memoryview, num_values: int) -> Codes | None:
    if len(body) != 4 * num_values:
        raise PageError("a dictionary of another size than its header says")
    values = np.frombuffer(body, "<i4")
    if not num_values or values.min() < 0 or values.max() >= NO_CODE:
        return None
    return values.astype(np.uint16)


def _read_page(body: memoryview, codes: Codes, deepest: int, out_N: Codes) -> bool:
    """Fills `out_N`, if each of the page's slots holds a code."""
    lists_end = _level_end(body, 0)
    values_start = _level_end(body, lists_end)
    if body[lists_end + _LEVEL_BYTES : values_start] != _one_run(len(out_N), deepest):
        return False  # an empty list or a null
    width = body[values_start]
    if not 1 <= width <= MAX_WIDTH:
        return False
    dictionary = Dictionary(codes, width)
    if not read_hybrid(body[values_start + 1 :], dictionary, out_N):
        return False
    if not dictionary.is_full and len(out_N) and out_N.max() == NO_CODE:
        raise PageError("an index beyond its dictionary")
    return True


def _level_end(body: memoryview, at: int) -> int:
    end = at + _LEVEL_BYTES + int.from_bytes(body[at : at + _LEVEL_BYTES], "little")
    if end >= len(body):
        raise PageError("a page whose levels end beyond it")
    return end


def _one_run(count: int, value: int) -> bytes:
    """The hybrid encoding of one value, so many times."""
    header, written = count << 1, bytearray()
    while header >= 0x80:
        written.append(header & 0x7F | 0x80)
        header >>= 7
    return bytes((*written, header, value))
