"""MP4 boxes: moved, cut out, and changed in place."""

import struct
from collections.abc import Callable, Iterator, Sequence


def box(name: bytes, payload: bytes) -> bytes:
    """A box with a 32-bit length."""
    return struct.pack(">I", 8 + len(payload)) + name + payload


def boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and payloads of the boxes in `content`."""
    at = 0
    while at < len(content):
        size, name = struct.unpack_from(">I4s", content, at)
        yield name, content[at + 8 : at + size]
        at += size


def change(content: bytes, path: Sequence[bytes], how: Callable[[bytes], bytes]) -> bytes:
    """The payload of every box at a path of names replaced by `how` of it; lengths follow."""
    out = b""
    for name, payload in boxes(content):
        if name == path[0]:
            payload = how(payload) if len(path) == 1 else change(payload, path[1:], how)
        out += box(name, payload)
    return out


def index_first(content: bytes) -> bytes:
    """The same file with its index in front of the samples, as made for the web."""
    parts = dict(boxes(content))
    ftyp, moov = box(b"ftyp", parts[b"ftyp"]), box(b"moov", parts[b"moov"])
    before = content.index(parts[b"mdat"])
    shift = len(ftyp) + len(moov) + 8 - before

    def moved(table: bytes) -> bytes:
        (count,) = struct.unpack_from(">I", table, 4)
        offsets = struct.unpack_from(f">{count}I", table, 8)
        return table[:8] + struct.pack(f">{count}I", *(at + shift for at in offsets))

    moov = change(moov, (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stco"), moved)
    return ftyp + moov + box(b"mdat", parts[b"mdat"])
