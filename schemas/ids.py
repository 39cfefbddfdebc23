"""Ids that a rerun gives again: digests of what a thing is, never of when or where it was seen."""

import hashlib
from pathlib import Path

ID_HEX_DIGITS = 32  # 128 bits: no collision to fear among 1e12 segments (birthday bound 1.5e-15)
_READ_BYTES = 1 << 20


def digest(*parts: str | int) -> str:
    """32 hex digits over the parts, which are length-prefixed so that they cannot run together."""
    sha = hashlib.sha256()
    for part in parts:
        encoded = str(part).encode()
        sha.update(f"{len(encoded)}:".encode())
        sha.update(encoded)
    return sha.hexdigest()[:ID_HEX_DIGITS]


def source_id(uri: str, size_bytes: int, etag: str) -> str:
    """Id of an input before a byte of it was read; changes when the input is replaced."""
    return digest("source", uri, size_bytes, etag)


def recording_id(path: Path) -> str:
    """Id of a file's bytes: equal for exact duplicates, whatever they are called."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            sha.update(chunk)
    return sha.hexdigest()[:ID_HEX_DIGITS]


def segment_id(recording_id: str, start_sample: int, end_sample: int) -> str:
    """Id of a half-open span on the normalized timeline of a recording."""
    return digest("segment", recording_id, start_sample, end_sample)
