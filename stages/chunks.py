"""WAV, RF64, W64, CAF and AIFF as chunks: what they promise, and where their headers contradict
themselves or keep silent."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

_UNKNOWN_SIZE = 0xFFFFFFFF  # what writers put that did not know the length yet
_MOST_CHUNKS = 1000
_RIFF = (b"RIFF", b"RF64", b"BW64")
_FILES = (*_RIFF, b"FORM", b"fLaC", b"OggS")
"""What other audio files begin with. No chunk is named so."""
_SAMPLES = (b"data", b"SSND")
_BEHIND_SAMPLES = (
    *(b"LIST", b"INFO", b"bext", b"cue ", b"fact", b"JUNK", b"junk", b"FLLR", b"PAD ", b"fmt "),
    *(b"id3 ", b"ID3 ", b"_PMX", b"iXML", b"aXML", b"axml", b"chna", b"smpl", b"inst", b"plst"),
    *(b"cart", b"levl", b"umid", b"DISP", b"acid", b"PEAK", b"strc", b"minf", b"elm1", b"regn"),
    *(b"COMM", b"MARK", b"INST", b"COMT", b"NAME", b"AUTH", b"ANNO", b"APPL", b"(c) ", b"CHAN"),
    *(b"FVER", b"MIDI", b"AESD", b"SAXL"),
)
"""Well-known chunks of WAV and AIFF, whatever length they state."""
_NO_CHUNKS = (b"ID3", b"TAG", b"APETAGEX", b"\r\n--")
"""What tags begin with, and the end of an upload in several parts (RFC 2046) that was left on."""
_NAME = bytes(range(ord(" "), ord("~") + 1))
_TEXT = b"\t\n\r" + _NAME
_READ_BYTES = 65_536
_FEWEST_BYTES = 64
"""Fewer are a slip of whoever wrote the file, not audio: 2 ms of 16-bit samples at 16 kHz."""
_EXTENSIBLE = 0xFFFE
_LINEAR = (1, 3, _EXTENSIBLE)
"""Format tags of WAV for integers, for floats, and for either with the kind in an extension."""
_WIDTHS = (2, 3, 4, 8)
Order = Literal["little", "big"]
Chunk = tuple[bytes, int, int]
"""Name, where its content begins, and the length that it states."""


def promised_over_held(file: BinaryIO) -> float:
    """How many times more sample data a WAV, W64 or CAF header promises than the file holds.

    1 where it holds all, where the header leaves the size open, and for other formats. FFmpeg cuts
    the length of these to what is there, so without this they never look truncated.
    """
    size = file.seek(0, 2)
    file.seek(0)
    start, promised = _sample_data(file, size)
    held = size - start
    return promised / held if promised > held > 0 else 1.0


def bytes_of_other_audio(file: BinaryIO) -> int:
    """How many bytes behind the samples of a WAV or AIFF file are another audio file; mostly 0.

    Readers stop where the first file ends and say nothing of the second.
    """
    size, _, chunks = _wav_or_aiff(file)
    for name, at, _ in chunks:
        if name in _FILES:
            return size - (at - 8)
    return 0


def bytes_of_no_chunk(file: BinaryIO) -> int:
    """How many bytes right behind the samples of a WAV or AIFF file belong to no chunk; mostly 0.

    They are samples where the header states too few of them, as a recorder that died between two
    updates of it leaves it. Not counted are padding (zeros, or the ones of erased flash), what it
    stands before, tags of MP3 players, and text.
    """
    size, order, chunks = _wav_or_aiff(file)
    for name, at, length in chunks:
        if name in _SAMPLES:
            ends = (at + length, at + length + length % 2)  # some writers leave the pad byte out
            left = size - ends[1]
            if not length or left < _FEWEST_BYTES:
                return 0
            return 0 if any(_may_follow_samples(file, end, size, order) for end in ends) else left
    return 0


def _wav_or_aiff(file: BinaryIO) -> tuple[int, Order, Iterator[Chunk]]:
    """Size, byte order and chunks of a file; of other formats no chunks."""
    size = file.seek(0, 2)
    file.seek(0)
    name = file.read(4)
    order: Order = "big" if name == b"FORM" else "little"
    if name not in (*_RIFF, b"FORM"):
        return size, order, iter(())
    return size, order, _chunks(file, size, first_chunk=12, length_bytes=4, order=order)


def _may_follow_samples(file: BinaryIO, at: int, size: int, order: Order) -> bool:
    """Whether all from there to the end of the file is chunks, with zeros between them or none, up
    to one that is well known, a tag, text or padding.

    An unknown name alone is no sign of a chunk: quiet samples of 8 bits look like text. The length
    that it states must lead to the end of the file or to the next one.
    """
    for _ in range(_MOST_CHUNKS):
        at += _num_leading(file, at, b"\0")
        if size - at < _FEWEST_BYTES:
            return True
        file.seek(at)
        head = file.read(8)
        name, length = head[:4], int.from_bytes(head[4:], order)
        if name in (*_BEHIND_SAMPLES, *_SAMPLES, *_FILES) or head.startswith(_NO_CHUNKS):
            return True
        if any(at + _num_leading(file, at, same) == size for same in (b"\xff", _TEXT)):
            return True
        if not _may_be_name(name) or length > size - at - 8:
            return False
        at += 8 + length
    return True


def _may_be_name(name: bytes) -> bool:
    """Whether these four bytes are letters, but for zeros behind two of them or any last byte."""
    return not name[:3].rstrip(b"\0").translate(None, _NAME) and name[1] != 0


def _num_leading(file: BinaryIO, at: int, values: bytes) -> int:
    """How many bytes from there on, without a break, have one of these values."""
    file.seek(at)
    num = 0
    while block := file.read(_READ_BYTES):
        rest = len(block.lstrip(values))
        num += len(block) - rest
        if rest:
            break
    return num


@dataclass(frozen=True, slots=True)
class WideWords:
    """Samples that take more bytes than their bits would fill."""

    bits: int
    num_bytes: int
    allowed: bool
    """Whether the header says so in its extension; else it contradicts itself."""

    def __str__(self) -> str:
        return f"{self.bits} bits a sample, and {self.num_bytes} bytes for each"


def wide_words(file: BinaryIO) -> WideWords | None:
    """What a WAV file of plain samples says of their width, where bits and bytes do not agree.

    FFmpeg goes by the bits and reads noise, so it takes the bytes of a moment and those of a second
    to outvote them: one field that lies alone does no harm.
    """
    size = file.seek(0, 2)
    file.seek(0)
    if file.read(4) not in _RIFF:
        return None
    for name, at, length in _chunks(file, size, first_chunk=12, length_bytes=4, order="little"):
        if name == b"fmt ":
            file.seek(at)
            return _wide_words(file.read(min(length, 20)))
    return None


def _wide_words(fmt: bytes) -> WideWords | None:
    if len(fmt) < 16:
        return None
    tag, channels, rate_hz, byte_rate, block, bits = struct.unpack_from("<HHIIHH", fmt)
    if tag == _EXTENSIBLE and len(fmt) == 20:
        bits = int.from_bytes(fmt[18:], "little") or bits
    if tag not in _LINEAR or not channels or not bits or byte_rate != rate_hz * block:
        return None
    num_bytes, rest = divmod(block, channels)
    if rest or num_bytes not in _WIDTHS or num_bytes <= -(-bits // 8):
        return None
    return WideWords(bits, num_bytes, allowed=tag == _EXTENSIBLE)


def _sample_data(file: BinaryIO, size: int) -> tuple[int, int]:
    """Where the samples begin, and how many bytes of them the header promises; 0 for no promise."""
    head = file.read(24)
    if head[:4] in _RIFF:
        chunks = _chunks(file, size, first_chunk=12, length_bytes=4, order="little")
    elif head[:4] == b"caff":
        chunks = _chunks(file, size, first_chunk=8, length_bytes=8, order="big")
    elif head[:4] == b"riff":
        return _w64_data(file, size)
    else:
        return 0, 0
    for name, at, length in chunks:
        if name == b"data":
            unknown = length == _UNKNOWN_SIZE or length >= 1 << 63
            return at, 0 if unknown else length
    return 0, 0


def _chunks(
    file: BinaryIO, size: int, *, first_chunk: int, length_bytes: int, order: Order
) -> Iterator[Chunk]:
    """Named chunks with a length each, one behind the other, up to the end of the file.

    The length of `data` is the 64-bit one where a ds64 chunk (RF64) states it.
    """
    at, long_size = first_chunk, _UNKNOWN_SIZE
    for _ in range(_MOST_CHUNKS):
        if at >= size:
            return  # also a length that no seek takes
        file.seek(at)
        name, length = file.read(4), int.from_bytes(file.read(length_bytes), order)
        at += 4 + length_bytes
        if at > size:
            return
        if name == b"ds64":  # RF64: 64-bit sizes of the file, then of the data
            long_size = int.from_bytes(file.read(16)[8:], order)
        if name == b"data" and length == _UNKNOWN_SIZE:
            length = long_size
        yield name, at, length
        at += length + (length & 1 if length_bytes == 4 else 0)


def _w64_data(file: BinaryIO, size: int) -> tuple[int, int]:
    """Like `_sample_data`, for W64: names are GUIDs that begin with the RIFF name in small letters.

    Lengths of 64 bits count the 24 bytes of name and length too; chunks start at multiples of 8.
    """
    at = 40  # behind the GUID of the file, its length, and the GUID that says wave
    for _ in range(_MOST_CHUNKS):
        if at + 24 > size:
            break  # also a length that no seek takes
        file.seek(at)
        name, length = file.read(16), int.from_bytes(file.read(8), "little")
        if length < 24:
            break
        if name[:4] == b"data":
            return at + 24, 0 if length >= 1 << 63 else length - 24
        at += length + -length % 8
    return 0, 0
