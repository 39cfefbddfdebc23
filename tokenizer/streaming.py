"""Codes to samples while the codes are still arriving.

A stream keeps the vectors it needs as left context and holds the newest frames back until enough
of what follows them is known. The result is close to decoding the whole, not equal: two norms of
the decoder average over everything decoded together, and the vocoder looks a little ahead.
"""

# Shapes: T frames, K codebooks, D width, S samples.

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from schemas.errors import TokenizerError

LEFT_FRAMES = 250
"""10 s, as released. With 3 frames of context a voice was heard to change at chunk borders."""
RIGHT_FRAMES = 40
"""1.6 s, as released: what the vocoder's layers together can look ahead."""


class VectorDecoder(Protocol):
    """The part of `Tokenizer` that streaming needs."""

    @property
    def samples_per_frame(self) -> int: ...
    def dequantize(self, codes_TK: Tensor) -> Tensor: ...
    def decode_vectors(
        self, vectors: Sequence[Tensor], *, as_padded_batch: bool = False
    ) -> list[Tensor]: ...


@dataclass(kw_only=True, slots=True)
class _Stream:
    vectors: Tensor | None = None
    returned_frames: int = 0
    """Of `vectors`, from its start: those whose samples were handed out."""


class StreamDecoder:
    """Several streams, fed chunk by chunk. Not for threads to share."""

    def __init__(
        self,
        decoder: VectorDecoder,
        num_streams: int = 1,
        *,
        left_frames: int = LEFT_FRAMES,
        right_frames: int = RIGHT_FRAMES,
        as_padded_batch: bool = False,
    ) -> None:
        """`as_padded_batch` decodes all streams as the published model does, so that they hear each
        other's lengths, and leaves the padded tail on the shorter ones' last piece."""
        for name, frames in (("left_frames", left_frames), ("right_frames", right_frames)):
            if frames < 0:
                raise TokenizerError(f"{name} is {frames}, wanted 0 or more")
        if left_frames < right_frames:
            raise TokenizerError(
                f"left_frames is {left_frames}, wanted at least right_frames ({right_frames}): "
                f"frames would be dropped before they are heard"
            )
        self._decoder = decoder
        self._streams = [_Stream() for _ in range(num_streams)]
        self._left_frames = left_frames
        self._right_frames = right_frames
        self._as_padded_batch = as_padded_batch
        self._ended = False

    def step(self, chunks: Sequence[Tensor], *, last: bool = False) -> list[Tensor]:
        """New samples of each stream after its next codes `[frames, codebooks]`; maybe none yet.

        With `last` everything held back comes out, and the streams end.
        """
        if self._ended:
            raise TokenizerError("these streams have ended; make a new StreamDecoder")
        if len(chunks) != len(self._streams):
            raise TokenizerError(f"{len(chunks)} chunks, wanted one for each of {self.num_streams}")
        # All before any stream takes its own: a refused chunk leaves every stream as it was.
        vectors = [self._decoder.dequantize(codes_TK) for codes_TK in chunks]
        for stream, new_TD in zip(self._streams, vectors, strict=True):
            known_TD = stream.vectors
            stream.vectors = new_TD if known_TD is None else torch.cat([known_TD, new_TD])
        known = [stream.vectors for stream in self._streams if stream.vectors is not None]
        if not last and all(vectors.shape[0] <= self._right_frames for vectors in known):
            return [torch.zeros(0) for _ in self._streams]
        decoded = self._decoder.decode_vectors(known, as_padded_batch=self._as_padded_batch)
        self._ended = last
        return [
            self._rest(stream, samples) if last else self._settled(stream, samples)
            for stream, samples in zip(self._streams, decoded, strict=True)
        ]

    def run(self, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """All pieces of a single stream, none of them empty."""
        waiting: Tensor | None = None
        for chunk in chunks:
            if waiting is not None:
                yield from (piece for piece in self.step([waiting]) if piece.shape[0])
            waiting = chunk
        if waiting is not None:
            yield from self.step([waiting], last=True)

    @property
    def num_streams(self) -> int:
        return len(self._streams)

    def cached_frames(self, stream: int) -> int:
        """Frames that a stream holds: context, and what was not returned yet."""
        vectors_TD = self._streams[stream].vectors
        return 0 if vectors_TD is None else vectors_TD.shape[0]

    def returned_frames(self, stream: int) -> int:
        """How many of `cached_frames` were returned."""
        return self._streams[stream].returned_frames

    def _rest(self, stream: _Stream, samples_S: Tensor) -> Tensor:
        first = stream.returned_frames * self._decoder.samples_per_frame
        stream.returned_frames = 0 if stream.vectors is None else stream.vectors.shape[0]
        return samples_S[first:]

    def _settled(self, stream: _Stream, samples_S: Tensor) -> Tensor:
        """Samples of the frames that have their right context; forgets what is too far left."""
        if stream.vectors is None or stream.vectors.shape[0] <= self._right_frames:
            return samples_S[:0]
        per_frame = self._decoder.samples_per_frame
        known = stream.vectors.shape[0]
        settled = known - self._right_frames
        piece_S = samples_S[stream.returned_frames * per_frame : settled * per_frame]
        forgotten = max(0, known - self._left_frames)
        stream.vectors = stream.vectors[forgotten:]
        stream.returned_frames = settled - forgotten
        return piece_S
