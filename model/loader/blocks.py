"""Memory that is used again: where a page that is touched first costs more than what is put there.

A row group takes several megabytes, which the allocator gives back to the system and asks for anew
with every one; that took longer than decoding.
"""

from threading import RLock, local

import numpy as np

from schemas.codes import Codes

_MOST_FREE_BYTES = 64 << 20
"""What waits for the next row group; the rest goes back to the system."""
_MOST_WASTE = 2
"""A block may be so many times what is asked for."""


class CodeBlocks:
    """Lends arrays of codes; the memory comes back when the last view of an array is gone."""

    def __init__(self) -> None:
        self._free: list[Codes] = []
        self._lock = RLock()  # a collection of garbage within it may give back a block

    def lend(self, num_codebooks: int, num_frames: int) -> Codes:
        """An array `[num_codebooks, num_frames]` of anything."""
        size = num_codebooks * num_frames
        loan = _Loan(self._block(size), self)
        return np.asarray(loan)[:size].reshape(num_codebooks, num_frames)

    def give_back(self, block: Codes) -> None:
        """Keeps a block that nobody sees any more, if there is room."""
        with self._lock:
            if sum(kept.nbytes for kept in self._free) + block.nbytes <= _MOST_FREE_BYTES:
                self._free.append(block)

    def _block(self, size: int) -> Codes:
        with self._lock:
            for place, block in enumerate(self._free):
                if size <= len(block) <= _MOST_WASTE * size:
                    return self._free.pop(place)
        return np.empty(size + size // 8, np.uint16)


class _Loan:
    """What the arrays that see a block hold on to."""

    def __init__(self, block: Codes, blocks: CodeBlocks) -> None:
        self._block, self._blocks = block, blocks
        self.__array_interface__ = block.__array_interface__

    def __del__(self) -> None:
        self._blocks.give_back(self._block)


class ReadBuffer(local):
    """Bytes of each thread's own, good until the thread asks again."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def of(self, size: int) -> memoryview:
        """`size` bytes of anything."""
        if len(self._bytes) < size:
            self._bytes = bytearray(size + size // 8)
        return memoryview(self._bytes)[:size]


CODE_BLOCKS = CodeBlocks()
"""Of the process: what one source gives back serves the next."""
READ_BUFFER = ReadBuffer()
