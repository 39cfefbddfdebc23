"""MP3: tags in front, and the frame that states how many there are."""

import struct

_TAGS = (b"Xing", b"Info")
_FRAMES_AT = 8  # behind the tag and its flags
# Mono and stereo, MPEG-1 Layer III or MPEG-2 and 2.5 Layer III; kbit/s by index.
_RATES_V1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_RATES_V2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def id3_size(content: bytes) -> int:
    """Length of the ID3v2 tag in front, in bytes; 0 without one."""
    if content[:3] != b"ID3":
        return 0
    size = 0
    for byte in content[6:10]:
        size = size << 7 | byte
    return 10 + size


def id3(*frames: bytes, stated: int | None = None) -> bytes:
    """An ID3v2.3 tag; `stated` is the length that its header claims."""
    body = b"".join(frames)
    size = len(body) if stated is None else stated
    return b"ID3\x03\x00\x00" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + body


def id3_frame(name: bytes, body: bytes) -> bytes:
    """One frame of such a tag, e.g. TIT2 or APIC."""
    return name + struct.pack(">IH", len(body), 0) + body


def with_stated_frames(content: bytes, factor: float) -> bytes:
    """The Xing frame claims `factor` times the frames that there are."""
    at = next(content.find(tag) for tag in _TAGS if tag in content) + _FRAMES_AT
    (frames,) = struct.unpack_from(">I", content, at)
    return content[:at] + struct.pack(">I", round(frames * factor)) + content[at + 4 :]


def without_length(content: bytes) -> bytes:
    """Without the ID3 tag and without the first frame, which is the Xing frame."""
    start = id3_size(content)
    return content[start + _frame_bytes(content[start : start + 4]) :]


def _frame_bytes(head: bytes) -> int:
    version, rate_index, hz_index = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    kilobits = (_RATES_V1 if version == 3 else _RATES_V2)[rate_index]
    per_kilobit = 144_000 if version == 3 else 72_000
    return per_kilobit * kilobits // _HZ[version][hz_index] + (head[2] >> 1 & 1)
