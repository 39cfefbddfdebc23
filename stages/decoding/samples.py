"""Samples on their way between two processes: written once, shared, then nobody's to change.

The receiver makes the memory, at its full size and sealed against growing and shrinking, so that a
writer gone bad can neither take more nor pull it away under a reader. Pages that nobody writes to
cost nothing.
"""

import fcntl
import mmap
import os
from types import TracebackType

import numpy as np

from schemas.codes import Waveform

_BLOCK_BYTES = 1 << 20


class SampleStore:
    """Memory for at most `max_bytes` of mono float32; raises `OSError` where there is none."""

    def __init__(self, max_bytes: int) -> None:
        self.fd = os.memfd_create("samples", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.fd, max_bytes)
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)

    def finished(self, num_samples: int) -> Waveform:
        """The first `num_samples`, read-only, shape `[num_samples]`, without a copy.

        Raises `OSError` EBUSY if somebody still holds them open for writing.
        """
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL)
        if num_samples == 0:
            return np.zeros(0, np.float32)
        # Private, because kernels before 6.7 refuse to share what is sealed against writing.
        memory = mmap.mmap(self.fd, num_samples * 4, mmap.MAP_PRIVATE, mmap.PROT_READ)
        return np.frombuffer(memory, np.float32)

    def __enter__(self) -> "SampleStore":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self.fd)


class SampleWriter:
    """Fills a `SampleStore` from front to back through its descriptor, which stays the caller's.

    Raises `OSError` where samples do not fit. It writes and maps nothing: page by page the faults
    of a mapping take twice the time.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.num_samples = 0

    def append(self, samples: Waveform) -> None:
        """Adds samples, shape `[num_samples]`."""
        self._write(np.ascontiguousarray(samples), self.num_samples * 4)
        self.num_samples += len(samples)

    def scale(self, start: int, num_samples: int, gain: float) -> None:
        """Multiplies samples that were written before."""
        for offset in range(start * 4, (start + num_samples) * 4, _BLOCK_BYTES):
            length = min(_BLOCK_BYTES, (start + num_samples) * 4 - offset)
            block = np.frombuffer(os.pread(self._fd, length, offset), np.float32)
            self._write(block * np.float32(gain), offset)

    def restart(self) -> None:
        """Begins again at the front."""
        self.num_samples = 0

    def _write(self, samples: Waveform, offset: int) -> None:
        left = samples.view(np.uint8).data
        while left:
            written = os.pwrite(self._fd, left, offset)
            left, offset = left[written:], offset + written
