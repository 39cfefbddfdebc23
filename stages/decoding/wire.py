"""Messages between a worker and its decoder: JSON behind its length, descriptors beside it."""

import json
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from typing import Any

MOST_BYTES = 1 << 20
"""Of one message. A thousand changes of format take a quarter of it."""
_LENGTH = struct.Struct(">I")


def send(line: socket.socket, message: Mapping[str, Any], fds: Sequence[int] = ()) -> None:
    """Sends a message and copies of descriptors. Raises `OSError` when nobody listens."""
    body = json.dumps(message).encode()
    content = _LENGTH.pack(len(body)) + body
    sent = socket.send_fds(line, [content], fds) if fds else 0
    line.sendall(content[sent:])


def receive(line: socket.socket, deadline: float) -> bytes:
    """The JSON of the next message; descriptors that come with it are closed by the kernel.

    Raises `TimeoutError` at the deadline (of `time.monotonic`), `EOFError` if the other side is
    gone, `ValueError` for a message longer than `MOST_BYTES`.
    """
    (length,) = _LENGTH.unpack(_exactly(line, _LENGTH.size, deadline))
    if length > MOST_BYTES:
        raise ValueError(f"a message of {length} bytes; wanted at most {MOST_BYTES}")
    return _exactly(line, length, deadline)


def receive_with_fds(line: socket.socket, num_fds: int) -> tuple[Any, list[int]]:
    """The next message and the descriptors that came with it; waits for ever."""
    head, fds, _, _ = socket.recv_fds(line, _LENGTH.size, num_fds)
    head += _exactly(line, _LENGTH.size - len(head)) if head else b""
    if not head:
        raise EOFError
    return json.loads(_exactly(line, _LENGTH.unpack(head)[0])), fds


def _exactly(line: socket.socket, num_bytes: int, deadline: float | None = None) -> bytes:
    content = b""
    while len(content) < num_bytes:
        if deadline is not None:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            line.settimeout(left_s)
        part = line.recv(num_bytes - len(content))
        if not part:
            raise EOFError
        content += part
    return content
