"""Parquet's hybrid of run lengths and bit packing, read into numpy through a dictionary.

Arrow's reader spends most of its time on where the lists of a column begin, which a shard's
`num_frames` says already; dictionary indices by themselves are read several times as fast here.
Format: the Parquet specification, "Run Length Encoding / Bit-Packing Hybrid".
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute

from schemas.codes import Codes

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]

MAX_WIDTH = 16
NO_CODE = 0xFFFF
"""What an index beyond the dictionary gives."""
_GROUP = 8
"""Values in the smallest packed unit, which is as many bytes as a value has bits."""
_QUAD = 4
_WORD_BYTES = 8
_WORD_BITS = 64
_ALL_BITS = (1 << _WORD_BITS) - 1
_PAIR_BITS = 16
"""Two indices of together so many bits are looked up as one."""
_UNCHECKED = compute.TakeOptions(boundscheck=False)
_BLOCK = 1 << 17
"""Numbers that are spread at once: what that takes stays in the cache."""
_SHORT_RUNS = 256
"""Values: with fewer a run than this, walking the runs in Python is slower than Arrow."""


@dataclass(frozen=True)
class Dictionary:
    """Codes by index; `width` is the bits of an index, 1 to `MAX_WIDTH`."""

    codes: Codes
    width: int

    @cached_property
    def single(self) -> Codes:
        """The codes, then `NO_CODE`: one for each index that can be written."""
        table = np.full(1 << self.width, NO_CODE, np.uint16)
        # A page may be written before the dictionary is complete: its indices are then narrower.
        known = self.codes[: len(table)]
        table[: len(known)] = known
        return table

    @property
    def is_full(self) -> bool:
        """Whether every index that can be written has a code."""
        return len(self.codes) >= 1 << self.width

    @cached_property
    def pairs(self) -> npt.NDArray[np.uint32]:
        """Two codes for each pair of indices, the lower bits being the first of them."""
        table = self.single.astype("<u4")
        return (table[None, :] | table[:, None] << np.uint32(_PAIR_BITS)).reshape(-1)


def read_hybrid(data: memoryview, dictionary: Dictionary, out: Codes) -> bool:
    """Fills `out` with the codes of its first indices; False where another reader does better.

    That is where the runs are many and short, or the data ends before the values do.
    """
    raw = np.frombuffer(data, np.uint8)
    width, count = dictionary.width, len(out)
    packed: list[Bytes] = []
    repeats: list[tuple[int, int, int]] = []  # index, how often, at which packed value
    at = num_packed = num_repeated = 0
    for _ in range(16 + count // _SHORT_RUNS):
        missing = count - num_packed - num_repeated
        if missing <= 0:
            _fill(packed, repeats, dictionary, out)
            return True
        header, start = _varint(raw, at)
        length = header >> 1
        if length == 0:
            return False
        if header & 1:
            # Full runs follow each other as a rule, so equal ones are taken at once.
            stride = start - at + length * width
            heads = raw[at::stride] if start == at + 1 else raw[at : at + 1]
            wanted = -(-missing // (length * _GROUP))
            alike = _leading(heads[:wanted] == raw[at])
            end = at + alike * stride
            if end > len(raw):
                return False
            runs = raw[at:end].reshape(alike, stride)
            packed.append(runs[:, start - at :])
            num_packed += alike * length * _GROUP
            at = end
        else:
            at = start + (width + 7) // 8
            if at > len(raw):
                return False
            index = int.from_bytes(raw[start:at].tobytes(), "little") % (1 << width)
            repeats.append((index, min(length, missing), num_packed))
            num_repeated += length
    return False


def _fill(
    packed: list[Bytes], repeats: list[tuple[int, int, int]], dictionary: Dictionary, out: Codes
) -> None:
    body = _joined(packed)
    if not repeats:
        unpack(body, dictionary, out)
        return
    codes = np.empty((len(body) - _WORD_BYTES) * _GROUP // dictionary.width, np.uint16)
    unpack(body, dictionary, codes)
    often = [times for _, times, _ in repeats]
    places = np.repeat([place for _, _, place in repeats], often)
    repeated = np.repeat(dictionary.single[[index for index, _, _ in repeats]], often)
    out[:] = np.insert(codes, places, repeated)[: len(out)]


def _joined(packed: list[Bytes]) -> Bytes:
    """The runs one after the other, and as many bytes more as a word reads beyond them."""
    body = np.empty(sum(runs.size for runs in packed) + _WORD_BYTES, np.uint8)
    at = 0
    for runs in packed:
        body[at : at + runs.size].reshape(runs.shape)[:] = runs
        at += runs.size
    body[at:] = 0
    return body


def unpack(packed: Bytes, dictionary: Dictionary, out: Codes) -> None:
    """Codes of the first indices in whole groups of 8, least significant bits first.

    `packed` goes on for eight bytes, of whatever value, behind the last group.
    """
    width, num_whole = dictionary.width, len(out) // _GROUP * _GROUP
    if num_whole < len(out):
        last = np.empty(_GROUP, np.uint16)
        unpack(packed[num_whole // _GROUP * width :], dictionary, last)
        out[num_whole:] = last[: len(out) - num_whole]
    # Two indices side by side are one of twice the bits.
    pairs = 2 * width <= _PAIR_BITS
    table: npt.NDArray[Any] = dictionary.pairs if pairs else dictionary.single
    bits = 2 * width if pairs else width
    found = out[:num_whole].view(table.dtype)
    arrow_table = pa.array(table)
    for first in range(0, len(found), _BLOCK):
        part = found[first : first + _BLOCK]
        indices = _spread(packed[first * bits // 8 :], bits, len(part))
        # Arrow's way takes half of numpy's time. No bounds to check: the table has every index.
        part[:] = compute.call_function(
            "array_take", [arrow_table, pa.array(indices)], _UNCHECKED
        ).to_numpy()


def _spread(packed: Bytes, bits: int, count: int) -> npt.NDArray[np.uint16]:
    """`count` numbers of `bits` bits, 16 bits each. They come in quads: four to a word of 64."""
    words = np.empty(count // _QUAD, np.uint64)
    if bits % 2:
        # Every other quad begins in the middle of a byte.
        words[0::2] = _words(packed, 0, bits, len(words[0::2]))
        words[1::2] = _words(packed, bits // 2, bits, len(words[1::2])) >> np.uint64(4)
    else:
        words[:] = _words(packed, 0, bits // 2, len(words))
    _move_upper_half(words, 2 * bits, 32)
    _move_upper_half(words, bits, 16)
    return words.view(np.uint16)


def _move_upper_half(words: Words, bits: int, lane: int) -> None:
    """In every lane pair of a word: `bits` bits stay, the `bits` above them go to the next lane."""
    low = sum(((1 << bits) - 1) << at for at in range(0, _WORD_BITS, 2 * lane))
    upper = words & np.uint64(low << bits & _ALL_BITS)
    upper <<= np.uint64(lane - bits)
    words &= np.uint64(low)
    words |= upper


def _words(packed: Bytes, offset: int, stride: int, count: int) -> Words:
    """The eight bytes from `offset` on, from `stride` bytes after that, and so on; a view."""
    return np.ndarray((count,), np.dtype("<u8"), packed, offset, (stride,))


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
