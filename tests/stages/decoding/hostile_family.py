"""A reader with a process of its own, begun before anything confines it, as on a kernel without
filters. It names that process, and crashes if it is asked to."""

import ctypes
import io
import os
import time

from schemas.errors import ItemError
from stages.decoding.contents import Contents, Limits
from stages.decoding.samples import SampleWriter

RELATIVE = os.fork()
while RELATIVE == 0:
    time.sleep(3600)


def read(file: io.FileIO, name: str, limits: Limits, writer: SampleWriter) -> Contents:
    """Says the process id of its relative, or crashes."""
    if name == "segfault":
        ctypes.string_at(0)
    raise ItemError("DECODE_ERROR", str(RELATIVE))
