"""What a prompt is made of, before it is tokenized. Each text is tokenized by itself."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from model.layout import Codes, Piece, SpeechPiece, SpokenPiece, TextPiece
from model.text import TextTokenizer


@dataclass(frozen=True, slots=True)
class Text:
    """Written text."""

    text: str


@dataclass(frozen=True, slots=True)
class Speech:
    """Speech to read: codes `[F, C]`, whole groups."""

    codes: Codes


@dataclass(frozen=True, slots=True)
class Spoken:
    """Speech of the model's own: its text, and its codes `[F, C]`, whole groups."""

    text: str
    codes: Codes


Segment: TypeAlias = Text | Speech | Spoken


def pieces_of(segments: Iterable[Segment], text: TextTokenizer) -> Iterator[Piece]:
    """The segments as pieces of a grid."""
    for segment in segments:
        match segment:
            case Text(text=written):
                yield TextPiece(token_ids=text.encode(written))
            case Speech(codes=codes):
                yield SpeechPiece(codes=codes)
            case Spoken(text=written, codes=codes):
                yield SpokenPiece(token_ids=text.encode(written), codes=codes)
