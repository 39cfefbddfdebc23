"""From logits and hidden states to one group of every row: its text id, and its patch if it speaks.

Only the rows that speak run through the patch decoder; a row that writes costs nothing there.
"""

# Shapes: B rows, N rows that speak, C audio channels, G frames of a group, D width of the backbone,
# U codes of a patch (G*C), V text ids.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from model.mimo import MiMoAudio
from model.patch_decoder import PatchSteps
from model.sampling import Draws, Sampler, Sampling

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

    def choose(
        self, rows: Sequence[Choice], logits_BV: Tensor, hidden_BD: Tensor, count: int
    ) -> Chosen:
        """The group after `count` others; `logits_BV` may be written to."""
        for place, row in enumerate(rows):
            if count < row.min_new and len(row.stops):
                logits_BV[place, row.stops] = float("-inf")
        draws = torch.from_numpy(np.stack([row.draws.next() for row in rows])).to(logits_BV.device)
        text_B = self._sampler([row.text for row in rows])(logits_BV, draws[:, 0])
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
        self, speech: Sequence[tuple[Sampling, ...]], hidden_ND: Tensor, draws_NU: Tensor
    ) -> Tensor:
        """Codes `[N, G, C]`; each has a draw of its own, frame by frame."""
        spec, count = self._model.spec, len(speech)
        if count not in self._steps:
            self._steps[count] = self._model.patch_steps(count)
        steps = self._steps[count]
        draws_NGC = draws_NU.unflatten(1, (spec.group_size, spec.num_channels))
        logits: Mapping[int, Tensor] = steps.start(hidden_ND)
        for step in range(steps.num_steps):
            tokens: dict[int, Tensor] = {}
            for channels in _of_equal_size(logits):
                # One call for all of a size: what a call costs is mostly the calling.
                sampler = self._sampler([row[channel] for channel in channels for row in speech])
                frames = [step - spec.delays[channel] for channel in channels]
                chosen = sampler(
                    torch.cat([logits[channel] for channel in channels]),
                    draws_NGC[:, frames, channels].T.flatten(),
                )
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


def _of_equal_size(logits: Mapping[int, Tensor]) -> list[list[int]]:
    """The channels in order; neighbours with as many ids go together."""
    return [list(channels) for _, channels in groupby(logits, key=lambda c: logits[c].shape)]
