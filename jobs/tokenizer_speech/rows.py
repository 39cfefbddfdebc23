"""Rows of the two lists of a training folder: what is in it, and what was left out and why."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One file of `data.csv`."""

    path: str
    """Relative to the folder."""
    seconds: float
    kind: Literal["speech", "noise", "music"]
    voice: str
    engine: str
    """Synthesiser, or `recording`."""
    language: str
    licence: str
    source: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """One line of `left_out.csv`: a voice, an utterance or a recording."""

    path: str
    outcome: Literal["not installed", "dropped", "failed"]
    reason: str
