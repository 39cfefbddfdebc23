"""Lines of a script laid on one timeline, with the exact extent of the speech of each.

A synthesiser puts silence before and after its words. Here an utterance is cut to its speech, so
that a pause is as long as the script says, and a turn starts where it is heard to start.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from jobs.demo.script import Line
from jobs.demo.voices import WORK_RATE_HZ, Audio

LONGEST_PAUSE_S = 0.5
"""A longer silence inside a turn belongs to nobody, and splits the turn in the RTTM."""

_HOP = WORK_RATE_HZ // 100
_SPEECH_BELOW_LOUDEST_DB = 33.0
"""Keeps consonants that can be heard, leaves the synthesisers' noise floor (40 to 60 dB down)."""
_MARGIN_S = 0.04
"""Audio kept on either side of the speech, faded, so that no consonant is clipped."""
_TURN_RMS = 0.08
_LEAD_S = 0.6

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Turn:
    """A line where it was placed: spans of speech in samples at `WORK_RATE_HZ`, in order."""

    line: Line
    spans: tuple[Span, ...]

    @property
    def start_sample(self) -> int:
        return self.spans[0][0]

    @property
    def end_sample(self) -> int:
        return self.spans[-1][1]


@dataclass(frozen=True, slots=True)
class Timeline:
    """Turns in order of start, and the speech of each voice on a track of its own."""

    turns: tuple[Turn, ...]
    tracks: dict[str, Audio]
    """Mono at `WORK_RATE_HZ`, all of one length."""

    def mono(self) -> Audio:
        total: Audio = np.sum(list(self.tracks.values()), axis=0)
        return total


def lay_out(
    lines: Sequence[Line], speak: Callable[[Line], Audio], *, tail_s: float = 0.6
) -> Timeline:
    """The lines one after another, every voice brought to the same level."""
    placed: list[tuple[Turn, Audio, int]] = []
    previous_end = 0
    for number, line in enumerate(lines):
        utterance, spans = _trim(speak(line))
        gap_s = line.gap_s if number else max(line.gap_s, _LEAD_S)
        start = previous_end + round(gap_s * WORK_RATE_HZ)
        offset = start - spans[0][0]
        turn = Turn(line, tuple((first + offset, last + offset) for first, last in spans))
        placed.append((turn, utterance, offset))
        previous_end = turn.end_sample
    length = previous_end + round(tail_s * WORK_RATE_HZ)
    tracks = {line.voice: np.zeros(length) for line in lines}
    for turn, utterance, offset in placed:
        tracks[turn.line.voice][offset : offset + len(utterance)] += utterance
    return Timeline(tuple(turn for turn, _, _ in placed), tracks)


def speech_spans(audio: Audio) -> tuple[Span, ...]:
    """Where somebody speaks, in samples at `WORK_RATE_HZ`; pauses up to `LONGEST_PAUSE_S` bridged.

    Raises `ValueError` where nothing is heard.
    """
    num_hops = len(audio) // _HOP
    power = np.mean(audio[: num_hops * _HOP].reshape(num_hops, _HOP) ** 2, axis=1)
    loud = np.flatnonzero(
        power > np.max(power, initial=0.0) * 10 ** (-_SPEECH_BELOW_LOUDEST_DB / 10)
    )
    if len(loud) == 0:
        raise ValueError(f"no speech in {len(audio)} samples; the synthesiser returned silence")
    hops_of_pause = LONGEST_PAUSE_S * WORK_RATE_HZ / _HOP
    breaks = np.flatnonzero(np.diff(loud) - 1 > hops_of_pause)
    firsts = [loud[0], *loud[breaks + 1]]
    lasts = [*loud[breaks], loud[-1]]
    return tuple(
        (int(first) * _HOP, (int(last) + 1) * _HOP)
        for first, last in zip(firsts, lasts, strict=True)
    )


def _trim(audio: Audio) -> tuple[Audio, tuple[Span, ...]]:
    """An utterance cut to its speech plus a margin, levelled, with its spans inside the cut."""
    spans = speech_spans(audio)
    margin = round(_MARGIN_S * WORK_RATE_HZ)
    start = max(0, spans[0][0] - margin)
    end = min(len(audio), spans[-1][1] + margin)
    cut = audio[start:end].copy()
    fade = np.linspace(0.0, 1.0, margin // 2)
    cut[: len(fade)] *= fade
    cut[-len(fade) :] *= fade[::-1]
    inside = tuple((first - start, last - start) for first, last in spans)
    voiced = np.concatenate([cut[first:last] for first, last in inside])
    return cut * (_TURN_RMS / np.sqrt(np.mean(voiced**2))), inside
