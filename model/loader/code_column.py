"""One `q` column of a row group, read into numpy.

The way pipelines write it (one dictionary, indices in the hybrid encoding, no nulls) is read here.
Anything else is Arrow's to read, which takes every Parquet there is and twice as long.
"""

# Shapes: F frames of the row group.

import numpy as np

from model.loader.bit_packing import Indices, read_hybrid
from model.loader.pages import DATA_PAGE, DICTIONARY_PAGE, PageError, pages_of
from schemas.codes import Codes

_PLAIN, _PLAIN_DICTIONARY, _RLE_DICTIONARY = 0, 2, 8
_LEVEL_BYTES = 4
_LARGEST_CODE = 0xFFFF


def read_column(chunk: memoryview, codec: str, deepest: int, out_F: Codes) -> bool:
    """Fills `out_F` with the column's codes; False where that is Arrow's to do.

    `deepest` is the definition level of a value that is there. Raises `PageError` for damage.
    """
    if codec not in ("ZSTD", "UNCOMPRESSED"):
        return False
    dictionary: Codes | None = None
    found = 0
    for page in pages_of(chunk):
        if page.kind == DICTIONARY_PAGE and page.encoding in (_PLAIN, _PLAIN_DICTIONARY):
            dictionary = _dictionary(page.body(codec), page.num_values)
        elif page.kind == DATA_PAGE and page.encoding in (_PLAIN_DICTIONARY, _RLE_DICTIONARY):
            indices = _indices(page.body(codec), page.num_values, deepest)
            end = found + page.num_values
            if indices is None or dictionary is None or end > len(out_F):
                return False
            if len(indices) and indices.max() >= len(dictionary):
                raise PageError("an index beyond its dictionary")
            # Nothing wraps; of numpy's ways to take, this one is the fastest.
            np.take(dictionary, indices, out=out_F[found:end], mode="wrap")
            found = end
        else:
            return False
    return found == len(out_F)


def _dictionary(body: memoryview, num_values: int) -> Codes | None:
    if len(body) != 4 * num_values:
        raise PageError("a dictionary of another size than its header says")
    values = np.frombuffer(body, "<i4")
    if not num_values or values.min() < 0 or values.max() > _LARGEST_CODE:
        return None
    return values.astype(np.uint16)


def _indices(body: memoryview, num_values: int, deepest: int) -> Indices | None:
    """Indices into the dictionary, if each of the page's slots holds one."""
    lists_end = _level_end(body, 0)
    values_start = _level_end(body, lists_end)
    if body[lists_end + _LEVEL_BYTES : values_start] != _one_run(num_values, deepest):
        return None  # an empty list or a null
    width = body[values_start]
    return read_hybrid(body[values_start + 1 :], width, num_values)


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
