"""The decoder's process: takes an open file, answers with what it found, until nobody asks.

Started by `stages.decoding.process` as `python -m stages.decoding.child LINE PARENT FUNCTION`: the
descriptor of its end of a socket pair, its parent's process id, and the function that reads a file.
"""

import importlib
import io
import os
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from schemas.errors import ItemError
from stages.decoding.confinement import die_with, limit_resources, limit_work, shut_in
from stages.decoding.contents import Answer, Contents, Limits
from stages.decoding.samples import SampleWriter
from stages.decoding.wire import receive_with_fds, send

OUT_OF_MEMORY_STATUS = 77
"""Exit status of a child whose allocation was refused; a memory error leaves no room for more."""

Read = Callable[[io.FileIO, str, Limits, SampleWriter], Contents]


def main(arguments: list[str]) -> None:
    """Serves one file after the other."""
    line_fd, parent_pid, function = int(arguments[0]), int(arguments[1]), arguments[2]
    die_with(parent_pid)
    limit_resources()
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=line_fd)
    try:
        module, _, name = function.partition(":")
        read: Read = getattr(importlib.import_module(module), name)
        held = shut_in(parent_pid)
    except Exception:  # noqa: BLE001  (told to the parent, whose failure it is)
        send(line, {"cannot_start": traceback.format_exc(limit=-3)})
        return
    send(line, {"ready": held})
    while True:
        try:
            request, fds = receive_with_fds(line, 2)
        except EOFError:
            return
        try:
            limit_work(request["cpu_s"], request["limits"]["max_bytes"])
            answer = _answer(read, request, *fds)
        except MemoryError:
            os._exit(OUT_OF_MEMORY_STATUS)
        finally:
            for fd in fds:
                os.close(fd)
        send(line, asdict(answer))


def _answer(read: Read, request: dict[str, Any], file_fd: int, samples_fd: int) -> Answer:
    limits = Limits(**request["limits"])
    try:
        with io.FileIO(file_fd, "rb", closefd=False) as file:
            contents = read(file, request["name"], limits, SampleWriter(samples_fd))
        return Answer(contents=contents)
    except ItemError as error:
        return Answer(failed=(error.error_class, str(error)))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  (told to the parent, which knows what to make of it)
        return Answer(unforeseen=traceback.format_exc())


if __name__ == "__main__":
    main(sys.argv[1:])
