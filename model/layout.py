"""The grid of ids that the model reads and writes, and the pieces it is made of.

A grid is int64 `[1 + C, T]`: row 0 text, rows 1..C the first C codebooks. G frames are one group,
which is one position of the backbone; T is whole groups. Row 0 counts only in the first frame of a
group; the other frames hold `FILLER`.

- text position: row 0 the token, code rows the empty code of each codebook
- audio position: row 0 `<|empty|>`, code rows G frames of codes

Shapes: C codebooks, F frames, G frames per group, T frames of a grid.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from model.special_tokens import SpecialTokens
from schemas.errors import ModelError

FILLER = -100
"""In row 0 of a grid: not read. In labels: not trained."""
TOKENS_PER_TURN = 5
"""Spoken speech alternates between so many text tokens and `GROUPS_PER_TURN` groups of codes."""
GROUPS_PER_TURN = 5

Grid: TypeAlias = npt.NDArray[np.int64]
Codes: TypeAlias = npt.NDArray[np.integer]
"""Codes `[F, C]`, as the tokenizer gives them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextPiece:
    """Text tokens, one position each."""

    token_ids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SpeechPiece:
    """Speech that is read: codes `[F, C]` between `<|sosp|>` and `<|eosp|>`."""

    codes: Codes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SpeechPiece) and np.array_equal(self.codes, other.codes)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SpokenPiece:
    """Speech that is spoken: its text and its codes `[F, C]`, in turns, to `<|eostm|>`."""

    token_ids: tuple[int, ...]
    codes: Codes

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, SpokenPiece)
            and self.token_ids == other.token_ids
            and np.array_equal(self.codes, other.codes)
        )


Piece: TypeAlias = TextPiece | SpeechPiece | SpokenPiece


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Pieces to a grid and back.

    `empty_codes`: per codebook the code that means "no audio", one above the largest real code.
    """

    special: SpecialTokens
    empty_codes: tuple[int, ...]
    group_size: int = 4

    def __post_init__(self) -> None:
        if not self.empty_codes or min(self.empty_codes) < 1 or self.group_size < 1:
            raise ModelError(
                f"layout with empty codes {self.empty_codes} and groups of {self.group_size}: all "
                "must be at least 1; see the model's config.json"
            )

    @property
    def num_codebooks(self) -> int:
        return len(self.empty_codes)

    def lay(self, pieces: Iterable[Piece]) -> Grid:
        """Grid of the pieces, one after the other. Raises `ModelError` for what has no place."""
        return self.join(self._laid(piece) for piece in pieces)

    def join(self, grids: Iterable[Grid]) -> Grid:
        """One grid of several, in order; `[1 + C, 0]` of none."""
        nothing = np.zeros((1 + self.num_codebooks, 0), np.int64)
        return np.concatenate([nothing, *grids], axis=1)

    def read(self, ids_T: Grid) -> tuple[Piece, ...]:
        """The pieces of a grid; text pieces that touch come back as one.

        A `<|sostm|>` that nothing follows, as at the end of a prompt, is text. Raises `ModelError`
        for a grid that `lay` would not have made.
        """
        text_ids = self.text_ids(ids_T)
        pieces: list[Piece] = []
        loose: list[int] = []
        at = 0
        while at < len(text_ids):
            end = self._end_of_speech(text_ids, at)
            if end is None:
                loose.append(text_ids[at])
                at += 1
                continue
            if loose:
                pieces.append(TextPiece(token_ids=tuple(loose)))
                loose = []
            pieces.append(self._speech_between(ids_T, text_ids, at, end))
            at = end + 1
        if loose:
            pieces.append(TextPiece(token_ids=tuple(loose)))
        if not np.array_equal(self._cells(self.lay(pieces)), self._cells(ids_T)):
            raise ModelError(
                "grid of ids: text and codes do not alternate as they are laid out; it was made "
                "for another model or changed afterwards, so lay the pieces out again"
            )
        return tuple(pieces)

    def text_ids(self, ids_T: Grid) -> tuple[int, ...]:
        """The text id of every position. Raises `ModelError` for another shape."""
        rows = 1 + self.num_codebooks
        if ids_T.ndim != 2 or ids_T.shape[0] != rows or ids_T.shape[1] % self.group_size:
            raise ModelError(
                f"grid of ids of shape {list(ids_T.shape)}: wanted [{rows}, T] with T a multiple "
                f"of {self.group_size}"
            )
        return tuple(int(token_id) for token_id in ids_T[0, :: self.group_size])

    def whole_groups(self, codes_FC: Codes) -> Codes:
        """Codes with the last frame repeated until the groups are whole; none stay none."""
        missing = -len(codes_FC) % self.group_size
        return np.concatenate([codes_FC, np.repeat(codes_FC[-1:], missing, axis=0)])

    def checked(self, codes_FC: Codes) -> Grid:
        """Codes that can be laid out, as int64 `[F, C]`: in range, and whole groups of frames.

        Raises `ModelError` for others.
        """
        codes_FC = self.in_range(codes_FC)
        if len(codes_FC) % self.group_size:
            raise ModelError(
                f"codes of {len(codes_FC)} frames: wanted whole groups of {self.group_size}; "
                "repeat the last frame (Layout.whole_groups)"
            )
        return codes_FC

    def in_range(self, codes_FC: Codes) -> Grid:
        """Codes as int64 `[F, C]`; raises `ModelError` unless all are codes of their codebook."""
        codes_FC = np.asarray(codes_FC)
        channels = self.num_codebooks
        if codes_FC.ndim != 2 or codes_FC.shape[1] != channels or codes_FC.dtype.kind not in "iu":
            raise ModelError(
                f"codes of shape {list(codes_FC.shape)} and type {codes_FC.dtype}: wanted integers "
                f"[frames, {channels}]; pass the first {channels} codebooks, frames first"
            )
        wide_FC = codes_FC.astype(np.int64)
        wrong = (wide_FC < 0) | (wide_FC >= np.asarray(self.empty_codes))
        if wrong.any():
            frame, channel = (int(index) for index in np.argwhere(wrong)[0])
            raise ModelError(
                f"code {wide_FC[frame, channel]} at frame {frame} of codebook {channel}: wanted "
                f"0..{self.empty_codes[channel] - 1}; encode with the tokenizer of this model"
            )
        return wide_FC

    def _laid(self, piece: Piece) -> Grid:
        special = self.special
        match piece:
            case TextPiece(token_ids=token_ids):
                return self._text(token_ids)
            case SpeechPiece(codes=codes_FC):
                codes_FC = self.checked(codes_FC)
                return self.join(
                    [self._text([special.sosp]), self._audio(codes_FC), self._text([special.eosp])]
                )
            case SpokenPiece(token_ids=token_ids, codes=codes_FC):
                return self._spoken(token_ids, self.checked(codes_FC))

    def _spoken(self, token_ids: Sequence[int], codes_FC: Grid) -> Grid:
        marks = {self.special.eot, self.special.sostm, self.special.eostm}
        if marks & set(token_ids):
            raise ModelError(
                "text of spoken speech holds a token that ends or begins it; take <|sostm|>, "
                "<|eostm|> and <|eot|> out of the text"
            )
        frames = GROUPS_PER_TURN * self.group_size
        texts = [
            list(token_ids[at : at + TOKENS_PER_TURN])
            for at in range(0, len(token_ids), TOKENS_PER_TURN)
        ] or [[]]
        texts[-1].append(self.special.eot)
        audios = [codes_FC[at : at + frames] for at in range(0, len(codes_FC), frames)]
        laid = [self._text([self.special.sostm])]
        for text, audio_FC in zip_longest(texts, audios):
            laid += [] if text is None else [self._text(text)]
            laid += [] if audio_FC is None else [self._audio(audio_FC)]
        return self.join([*laid, self._text([self.special.eostm])])

    def _text(self, token_ids: Sequence[int]) -> Grid:
        for token_id in token_ids:
            if token_id < 0 or token_id == self.special.empty:
                raise ModelError(
                    f"text token {token_id}: wanted an id from 0 that is not <|empty|> "
                    f"({self.special.empty}), which marks audio; take it out of the text"
                )
        ids_T = self._blank(len(token_ids))
        ids_T[0, :: self.group_size] = token_ids
        return ids_T

    def _audio(self, codes_FC: Grid) -> Grid:
        ids_T = self._blank(len(codes_FC) // self.group_size)
        ids_T[0, :: self.group_size] = self.special.empty
        ids_T[1:] = codes_FC.T
        return ids_T

    def _blank(self, num_groups: int) -> Grid:
        column = np.array([FILLER, *self.empty_codes], np.int64)
        return np.repeat(column[:, None], num_groups * self.group_size, axis=1)

    def _end_of_speech(self, text_ids: Sequence[int], at: int) -> int | None:
        """Position of the marker that closes what opens at `at`; None if nothing does."""
        special = self.special
        closing = {special.sosp: special.eosp, special.sostm: special.eostm}.get(text_ids[at])
        if closing is None:
            return None
        return next((p for p in range(at + 1, len(text_ids)) if text_ids[p] == closing), None)

    def _speech_between(self, ids_T: Grid, text_ids: Sequence[int], at: int, end: int) -> Piece:
        size, special = self.group_size, self.special
        inside = range(at + 1, end)
        audio = [slice(p * size, (p + 1) * size) for p in inside if text_ids[p] == special.empty]
        codes_FC = self.join([ids_T[:, group] for group in audio])[1:].T
        words = [text_ids[p] for p in inside if text_ids[p] != special.empty]
        if text_ids[at] == special.sosp:
            return SpeechPiece(codes=codes_FC)
        return SpokenPiece(
            token_ids=tuple(token_id for token_id in words if token_id != special.eot),
            codes=codes_FC,
        )

    def _cells(self, ids_T: Grid) -> Grid:
        """The grid without the cells that are never read."""
        cells_T = ids_T.copy()
        cells_T[0] = np.where(np.arange(ids_T.shape[1]) % self.group_size == 0, ids_T[0], FILLER)
        return cells_T
