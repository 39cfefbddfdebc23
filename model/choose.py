"""From logits and hidden states to one group of every row: its text id, and its patch if it speaks.

Only the rows that speak run through the patch decoder; a row that writes costs nothing there.
"""

# Shapes: B rows, N rows that speak, C audio channels, G frames of a group, D width of the backbone,
# U codes of a patch (G*C), V text ids.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.mimo import MiMoAudio
from model.patch_decoder import PatchSteps
from model.sampling import Draws, Sampler, Sampling
from model.spec import ModelSpec

Drawn: TypeAlias = npt.NDArray[np.float32]
_MAX_SAMPLERS = 256
"""Kept for later; rows of many different settings make new ones without end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """How the ids of one row are chosen."""

    text: Sampling
    speech: tuple[Sampling, ...]
    """Of each audio channel."""
    stops: Tensor
    """Text ids that are not chosen in the first `min_new` groups."""
    min_new: int
    draws: Draws = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """One group of every row."""

    text_ids: list[int]
    text: Tensor
    """The same where the model is, `[B]`."""
    codes: Tensor
    """`[B, G, C]`; empty codes in rows that do not speak."""
    speaking: list[int]
    """Rows that do."""

    def of(self, kept: Sequence[int]) -> "Chosen":
        """Of those rows alone, in that order."""
        return Chosen(
            text_ids=[self.text_ids[row] for row in kept],
            text=self.text[kept],
            codes=self.codes[kept],
            speaking=[place for place, row in enumerate(kept) if row in self.speaking],
        )


class Chooser:
    """Chooses group after group for a model; its memory and its samplers are made once."""

    def __init__(self, model: MiMoAudio) -> None:
        self._model = model
        self._steps: dict[int, PatchSteps] = {}
        self._samplers: dict[tuple[Sampling, ...], Sampler] = {}
        self._empty_C = torch.tensor(model.spec.empty_codes, device=model.device)
        self._order = _order_of_choice(model.spec)

    def choose(
        self, rows: Sequence[Choice], logits_BV: Tensor, hidden_BD: Tensor, count: int
    ) -> Chosen:
        """The group after `count` others; `logits_BV` may be written to."""
        for place, row in enumerate(rows):
            if count < row.min_new and len(row.stops):
                logits_BV[place, row.stops] = float("-inf")
        draws = np.stack([row.draws.next() for row in rows])
        of_text_B = torch.from_numpy(draws[:, 0]).to(logits_BV.device)
        text_B = self._sampler([row.text for row in rows])(logits_BV, of_text_B)
        text_ids = text_B.tolist()
        empty = self._model.special_tokens.empty
        speaking = [place for place, text_id in enumerate(text_ids) if text_id == empty]
        codes_BGC = self._empty_C.expand(len(rows), self._model.spec.group_size, -1)
        if speaking:
            speech = [rows[place].speech for place in speaking]
            codes_BGC = codes_BGC.clone()
            codes_BGC[speaking] = self._patches(speech, hidden_BD[speaking], draws[speaking, 1:])
        return Chosen(text_ids=text_ids, text=text_B, codes=codes_BGC, speaking=speaking)

    def _patches(
        self, speech: Sequence[tuple[Sampling, ...]], hidden_ND: Tensor, draws_NU: Drawn
    ) -> Tensor:
        """Codes `[N, G, C]`; each has a draw of its own, frame by frame."""
        count = len(speech)
        if count not in self._steps:
            self._steps[count] = self._model.patch_steps(count)
        steps = self._steps[count]
        # In the order in which they are needed, so that they travel to the device once.
        draws_UN = torch.from_numpy(draws_NU.T[self._order].copy()).to(hidden_ND.device)
        at = 0
        logits: Mapping[int, Tensor] = steps.start(hidden_ND)
        for _ in range(steps.num_steps):
            tokens: dict[int, Tensor] = {}
            for channels in _of_equal_size(logits):
                # One call for all of a size: what a call costs is mostly the calling.
                sampler = self._sampler([row[channel] for channel in channels for row in speech])
                together = torch.cat([logits[channel] for channel in channels])
                chosen = sampler(together, draws_UN[at : at + len(channels)].flatten())
                at += len(channels)
                tokens |= zip(channels, chosen.split(count), strict=True)
            logits = steps.next(tokens)
        return steps.codes

    def _sampler(self, rows: Sequence[Sampling]) -> Sampler:
        """One for rows of these settings; rows that are all alike share one, however many."""
        key = (rows[0],) if len(set(rows)) == 1 else tuple(rows)
        if key not in self._samplers:
            if len(self._samplers) >= _MAX_SAMPLERS:
                self._samplers.clear()
            self._samplers[key] = Sampler(key, self._model.device)
        return self._samplers[key]


def _order_of_choice(spec: ModelSpec) -> list[int]:
    """Codes of a patch, counted frame by frame, in the order in which the patch decoder asks."""
    return [
        (step - delay) * spec.num_channels + channel
        for step in range(spec.patch_steps)
        for channel, delay in enumerate(spec.delays)
        if delay <= step < delay + spec.group_size
    ]


def _of_equal_size(logits: Mapping[int, Tensor]) -> list[list[int]]:
    """The channels in order; neighbours with as many ids go together."""
    return [list(channels) for _, channels in groupby(logits, key=lambda c: logits[c].shape)]
