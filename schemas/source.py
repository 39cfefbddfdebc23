"""An input as it was listed, before a byte of it was read."""

from dataclasses import dataclass, field

from schemas.ids import source_id


@dataclass(frozen=True, slots=True)
class Source:
    """Where an input lies and which version of it was listed."""

    uri: str
    size_bytes: int
    etag: str
    """mtime in ns for local files, else the store's etag: changes when the content does."""
    bounds: str | None = field(default=None, compare=False)
    """Path that links on a disk must not lead out of, as the job names it; None: they may lead
    anywhere. No part of the id, and of no table."""

    @property
    def source_id(self) -> str:
        return source_id(self.uri, self.size_bytes, self.etag)
