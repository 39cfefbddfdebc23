"""Messages between a worker and its decoder: JSON behind its length, descriptors beside it."""

import json
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

MOST_BYTES = 1 << 20
"""Of one message. A thousand changes of format take a quarter of it."""
_LENGTH = struct.Struct(">I")
_LOOK_EVERY_S = 0.5


def send(line: socket.socket, message: Mapping[str, Any], fds: Sequence[int] = ()) -> None:
    """Sends a message and copies of descriptors. Raises `OSError` when nobody listens."""
    body = json.dumps(message).encode()
    content = _LENGTH.pack(len(body)) + body
    sent = socket.send_fds(line, [content], fds) if fds else 0
    line.sendall(content[sent:])


def receive(line: socket.socket, deadline: float, is_alive: Callable[[], bool]) -> bytes:
    """The JSON of the next message; descriptors that come with it are closed by the kernel.

    Raises `TimeoutError` at the deadline (of `time.monotonic`), `EOFError` if the other side is
    gone, `ValueError` for a message longer than `MOST_BYTES`. That the other side is gone shows on
    the line only if it left nobody behind who holds its end, so it is asked for too.
    """

    def wait_for(num_bytes: int) -> bytes:
        content = b""
        while len(content) < num_bytes:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            line.settimeout(min(left_s, _LOOK_EVERY_S))
            try:
                part = line.recv(num_bytes - len(content))
            except TimeoutError:
                if not is_alive():
                    raise EOFError from None
                continue
            if not part:
                raise EOFError
            content += part
        return content

    (length,) = _LENGTH.unpack(wait_for(_LENGTH.size))
    if length > MOST_BYTES:
        raise ValueError(f"a message of {length} bytes; wanted at most {MOST_BYTES}")
    return wait_for(length)


def receive_with_fds(line: socket.socket, num_fds: int) -> tuple[Any, list[int]]:
    """The next message and the descriptors that came with it; waits for ever."""
    head, fds, _, _ = socket.recv_fds(line, _LENGTH.size, num_fds, socket.MSG_WAITALL)
    if len(head) < _LENGTH.size:
        raise EOFError
    body = line.recv(_LENGTH.unpack(head)[0], socket.MSG_WAITALL)
    return json.loads(body), fds
