"""Parquet's hybrid of run lengths and bit packing, read into numpy.

Arrow's reader spends most of its time on where the lists of a column begin, which a shard's
`num_frames` says already; dictionary indices by themselves are read several times as fast here.
Format: the Parquet specification, "Run Length Encoding / Bit-Packing Hybrid".
"""

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.uint16]
Bytes = npt.NDArray[np.uint8]

MAX_WIDTH = 16
_GROUP = 8
"""Values in the smallest packed unit, which is as many bytes as a value has bits."""
_WORD_BITS = 64
_SHORT_RUNS = 256
"""Values: with fewer a run than this, walking the runs in Python is slower than Arrow."""


def read_hybrid(data: bytes | memoryview, width: int, count: int) -> Indices | None:
    """The first `count` values, `width` bits each; None where another reader is the better one.

    That is where the runs are many and short, a value is wider than 16 bits, or the data ends
    before the values do.
    """
    if not 1 <= width <= MAX_WIDTH:
        return None
    raw = np.frombuffer(data, np.uint8)
    packed: list[Bytes] = []
    repeats: list[tuple[int, int, int]] = []  # value, how often, at which packed value
    at = num_packed = num_repeated = 0
    for _ in range(16 + count // _SHORT_RUNS):
        missing = count - num_packed - num_repeated
        if missing <= 0:
            return _together(packed, width, repeats, count)
        header, start = _varint(raw, at)
        length = header >> 1
        if header == 0 or length == 0:
            return None
        if header & 1:
            # Full runs follow each other as a rule, so equal ones are taken at once.
            stride = start - at + length * width
            heads = raw[at::stride] if start == at + 1 else raw[at : at + 1]
            wanted = -(-missing // (length * _GROUP))
            alike = _leading(heads[:wanted] == raw[at])
            end = at + alike * stride
            if end > len(raw):
                return None
            runs = raw[at:end].reshape(alike, stride)
            packed.append(runs[:, start - at :].reshape(-1))
            num_packed += alike * length * _GROUP
            at = end
        else:
            at = start + (width + 7) // 8
            if at > len(raw):
                return None
            value = int.from_bytes(raw[start:at].tobytes(), "little")
            repeats.append((value, min(length, missing), num_packed))
            num_repeated += length
    return None


def unpack(packed: Bytes, width: int) -> Indices:
    """Values of `width` bits, least significant first, of whole groups of 8 values."""
    num_groups = len(packed) // width
    padded = np.concatenate([packed, np.zeros(_WORD_BITS // 8, np.uint8)])
    values = np.empty((num_groups, _GROUP), np.uint16)
    mask = np.uint64((1 << width) - 1)
    from_bit, words = 0, _words(padded, 0, width, num_groups)
    for place in range(_GROUP):
        bit = place * width
        if bit + width > from_bit + _WORD_BITS:
            from_bit = bit // 8 * 8
            words = _words(padded, from_bit // 8, width, num_groups)
        values[:, place] = (words >> np.uint64(bit - from_bit)) & mask
    return values.reshape(-1)


def _words(padded: Bytes, offset: int, stride: int, count: int) -> npt.NDArray[np.uint64]:
    """Eight bytes from `offset` of every group."""
    return np.ndarray((count,), np.dtype("<u8"), padded, offset, (stride,)).astype(np.uint64)


def _together(
    packed: list[Bytes], width: int, repeats: list[tuple[int, int, int]], count: int
) -> Indices:
    values = unpack(np.concatenate([np.zeros(0, np.uint8), *packed]), width)
    if repeats:
        places = [place for _, _, place in repeats]
        often = [often for _, often, _ in repeats]
        values = np.insert(
            values,
            np.repeat(places, often),
            np.repeat(np.array([value for value, _, _ in repeats], np.uint16), often),
        )
    return values[:count]


def _leading(same: npt.NDArray[np.bool_]) -> int:
    return len(same) if same.all() else int(same.argmin())


def _varint(raw: Bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 number and the place after it; 0 where the data ends within."""
    value = shift = 0
    for place in range(at, min(at + 5, len(raw))):
        byte = int(raw[place])
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place + 1
        shift += 7
    return 0, at
