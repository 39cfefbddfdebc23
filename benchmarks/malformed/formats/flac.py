"""FLAC by hand: a STREAMINFO block that says what one likes, and frames of silence."""

import struct

SIGNATURE = b"fLaC"
LONGEST_BLOCK = 65_535
_LAST_BLOCK = 0x80
_TOTAL_AT = 18  # 8 bytes: 20 bits of rate, 3 of channels, 5 of width, 36 of samples


def stream_info(*, rate_hz: int, total_samples: int, block: int, bits: int = 16) -> bytes:
    """Signature and STREAMINFO of a mono file, as the only metadata block."""
    packed = rate_hz << 44 | 0 << 41 | (bits - 1) << 36 | total_samples
    body = struct.pack(">HH", block, block) + bytes(6) + packed.to_bytes(8, "big") + bytes(16)
    return SIGNATURE + bytes([_LAST_BLOCK]) + len(body).to_bytes(3, "big") + body


def with_total_samples(content: bytes, total_samples: int) -> bytes:
    """The same file, but STREAMINFO claims this many samples (36 bits)."""
    packed = int.from_bytes(content[_TOTAL_AT : _TOTAL_AT + 8], "big")
    packed = packed >> 36 << 36 | total_samples
    return content[:_TOTAL_AT] + packed.to_bytes(8, "big") + content[_TOTAL_AT + 8 :]


def metadata_end(content: bytes) -> int:
    """Where the first audio frame begins."""
    at = len(SIGNATURE)
    while True:
        kind, length = content[at], int.from_bytes(content[at + 1 : at + 4], "big")
        at += 4 + length
        if kind & _LAST_BLOCK:
            return at


def silent_frame(number: int, block: int) -> bytes:
    """Frame `number` of a mono 16-bit file with blocks of this fixed length: all zero."""
    # Sync and fixed blocks; length in 16 bits at the end, rate as in STREAMINFO; mono, 16 bit.
    head = bytes([0xFF, 0xF8, 0x70, 0x08]) + _number(number) + struct.pack(">H", block - 1)
    head += bytes([_crc(head, 0x07, 8)])
    frame = head + b"\x00\x00\x00"  # one subframe: constant, value 0
    return frame + _crc(frame, 0x8005, 16).to_bytes(2, "big")


def _number(value: int) -> bytes:
    """A frame number in the longer cousin of UTF-8 that FLAC uses."""
    if value < 0x80:
        return bytes([value])
    tail = []
    room = 0x3F
    while value > room:
        tail.append(0x80 | value & 0x3F)
        value >>= 6
        room >>= 1
    lead = 0xFF & ~(room << 1 | 1) | value
    return bytes([lead, *reversed(tail)])


def _crc(content: bytes, polynomial: int, bits: int) -> int:
    crc, top, mask = 0, 1 << bits - 1, (1 << bits) - 1
    for byte in content:
        crc ^= byte << bits - 8
        for _ in range(8):
            crc = (crc << 1 ^ polynomial if crc & top else crc << 1) & mask
    return crc
