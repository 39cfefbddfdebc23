"""Text and speech in one stream, for several requests at once, group by group.

A group is one text id, or one patch of G frames of codes where that id is `<|empty|>`. Each request
has its own prompt, settings, seed and end; what it gets does not depend on the others.
"""

# Shapes: B rows, C audio channels, G frames of a group, T frames of a grid, V text ids.

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from model.layout import Codes, Grid
from model.mimo import MiMoAudio
from model.patch_decoder import PatchSteps
from model.prompt_ids import pad_prompts
from model.sampling import Draws, Sampler, Sampling
from schemas.errors import ModelError

Finish = Literal["stop", "length"]
_Item = TypeVar("_Item")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Request:
    """One prompt and how it is to be answered. Raises `ModelError` for values out of range."""

    prompt: Grid
    """`[1 + C, T]`, whole groups; `Tasks` makes them."""
    text: Sampling
    speech: tuple[Sampling, ...]
    """Of each audio channel, or one for all; `task_settings` knows what a task wants."""
    stop_ids: frozenset[int] = frozenset()
    """Text ids that end the answer; the group that holds one is its last."""
    max_new: int | None = None
    """Groups at most; the context's end stops in any case."""
    min_new: int = 0
    """Groups before which no stop id is drawn."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_new is not None and self.max_new < 1:
            raise ModelError(f"max_new is {self.max_new}, wanted 1 group or more")
        if self.min_new < 0:
            raise ModelError(f"min_new is {self.min_new}, wanted 0 groups or more")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Group:
    """One position that was generated."""

    request: int
    """Its place in the list of requests."""
    text_id: int
    codes: Codes | None
    """`[G, C]` int64 if the id is `<|empty|>`."""
    finish: Finish | None
    """Why it is the request's last, if it is."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Generated:
    """All that one request got."""

    ids: Grid
    """`[1 + C, T]` without the prompt, with the group that stopped it; the text id stands in every
    frame of a group. `Tasks.read_reply` reads it; after its prompt it is a dialogue's history."""
    finish: Finish


def generate(model: MiMoAudio, requests: Sequence[Request]) -> list[Generated]:
    """Answers to all requests, in their order. Raises `ModelError` for what cannot be read."""
    columns: list[list[Grid]] = [[] for _ in requests]
    finishes: list[Finish] = ["length"] * len(requests)
    empty_GC = np.tile(np.array(model.spec.empty_codes, np.int64), (model.spec.group_size, 1))
    for group in generate_groups(model, requests):
        codes_GC = empty_GC if group.codes is None else group.codes
        text_1G = np.full((1, model.spec.group_size), group.text_id, np.int64)
        columns[group.request].append(np.concatenate([text_1G, codes_GC.T]))
        if group.finish is not None:
            finishes[group.request] = group.finish
    return [
        Generated(ids=np.concatenate(grids, axis=1), finish=finish)
        for grids, finish in zip(columns, finishes, strict=True)
    ]


def generate_groups(model: MiMoAudio, requests: Sequence[Request]) -> Iterator[Group]:
    """The same, group by group as they come: one of each unfinished request, then the next.

    All requests are checked and read at the first group. Stopping early costs nothing.
    """
    if not requests:
        return
    if model.training:
        raise ModelError("the model is in training mode, where dropout is drawn; call model.eval()")
    speech = [_of_channels(request.speech, model.spec.num_channels) for request in requests]
    room = [_room(number, request, model) for number, request in enumerate(requests)]
    prompts = [torch.from_numpy(np.asarray(request.prompt)) for request in requests]
    input_ids, lengths = pad_prompts(prompts, model.spec)
    capacity = max(length + new for length, new in zip(lengths, room, strict=True))
    cache = model.new_cache(len(requests), capacity)
    logits_BV, hidden_BD = model.prefill(input_ids.to(model.device), lengths, cache)
    per_group = 1 + model.spec.group_size * model.spec.num_channels
    rows = [
        _Row(
            number=number,
            request=request,
            room=room[number],
            speech=speech[number],
            draws=Draws(request.seed, per_group),
        )
        for number, request in enumerate(requests)
    ]
    chooser = _Chooser(model, rows)
    for count in range(max(room)):
        text_B, codes_BGC = chooser.choose(logits_BV, hidden_BD, count)
        groups = _groups(model, rows, text_B, codes_BGC, count)
        yield from sorted(groups, key=lambda group: group.request)
        # From the last row on: the last takes a finished one's place, and has been looked at.
        kept = list(range(len(rows)))
        for place in reversed(range(len(rows))):
            if groups[place].finish is not None:
                cache.drop(place)
                _drop(rows, place)
                _drop(kept, place)
        if not rows:
            return
        if len(kept) < len(groups):
            text_B, codes_BGC = text_B[kept], codes_BGC[kept]
            chooser = _Chooser(model, rows)
        logits_BV, hidden_BD = model.step(text_B, codes_BGC, cache)


@dataclass(kw_only=True, slots=True)
class _Row:
    number: int
    request: Request
    room: int
    """Groups that it may still get at the start."""
    speech: tuple[Sampling, ...]
    draws: Draws = field(repr=False)

    def finish(self, text_id: int, count: int) -> Finish | None:
        """Why the group after `count` others ends it, if it does."""
        if text_id in self.request.stop_ids:
            return "stop"
        return "length" if count + 1 >= self.room else None


class _Chooser:
    """Chooses the ids of one group for a fixed set of rows."""

    def __init__(self, model: MiMoAudio, rows: Sequence[_Row]) -> None:
        self._model = model
        self._rows = rows
        self._text = Sampler([row.request.text for row in rows], model.device)
        self._speech: dict[tuple[int, ...], _PatchChooser] = {}
        self._empty_C = torch.tensor(model.spec.empty_codes, device=model.device)

    def choose(self, logits_BV: Tensor, hidden_BD: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Text ids `[B]` and codes `[B, G, C]`, empty ones where the id is not `<|empty|>`."""
        for place, row in enumerate(self._rows):
            if count < row.request.min_new and row.request.stop_ids:
                logits_BV[place, sorted(row.request.stop_ids)] = float("-inf")
        drawn = np.stack([row.draws.next() for row in self._rows])
        draws = torch.from_numpy(drawn).to(logits_BV.device)
        text_B = self._text(logits_BV, draws[:, 0])
        shape = (len(self._rows), self._model.spec.group_size, -1)
        codes_BGC = self._empty_C.expand(shape)
        empty = self._model.special_tokens.empty
        speaking = [place for place, text_id in enumerate(text_B.tolist()) if text_id == empty]
        if len(speaking) == len(self._rows):
            return text_B, self._patches(speaking)(hidden_BD, draws[:, 1:])
        if speaking:
            codes_BGC = codes_BGC.clone()
            codes_BGC[speaking] = self._patches(speaking)(hidden_BD[speaking], draws[speaking, 1:])
        return text_B, codes_BGC

    def _patches(self, speaking: Sequence[int]) -> "_PatchChooser":
        key = tuple(speaking)
        if key not in self._speech:
            if len(self._speech) > 4 * len(self._rows):
                self._speech.clear()
            rows = [self._rows[place].speech for place in speaking]
            self._speech[key] = _PatchChooser(self._model, rows)
        return self._speech[key]


class _PatchChooser:
    """Patches of some rows, each channel by its own settings."""

    def __init__(self, model: MiMoAudio, rows: Sequence[tuple[Sampling, ...]]) -> None:
        self._spec = model.spec
        self._steps: PatchSteps = model.patch_steps(len(rows))
        self._samplers = [
            Sampler([row[channel] for row in rows], model.device)
            for channel in range(model.spec.num_channels)
        ]

    def __call__(self, hidden_ND: Tensor, draws_NU: Tensor) -> Tensor:
        """Codes `[N, G, C]`; `draws_NU` has a number for each code, frame by frame."""
        logits: Mapping[int, Tensor] = self._steps.start(hidden_ND)
        for step in range(self._steps.num_steps):
            tokens = {}
            for channel, of_channel_NV in logits.items():
                frame = step - self._spec.delays[channel]
                draws_N = draws_NU[:, frame * self._spec.num_channels + channel]
                tokens[channel] = self._samplers[channel](of_channel_NV, draws_N)
            logits = self._steps.next(tokens)
        return self._steps.codes


def _groups(
    model: MiMoAudio, rows: Sequence[_Row], text_B: Tensor, codes_BGC: Tensor, count: int
) -> list[Group]:
    codes = codes_BGC.cpu().numpy()
    return [
        Group(
            request=row.number,
            text_id=text_id,
            codes=codes[place].copy() if text_id == model.special_tokens.empty else None,
            finish=row.finish(text_id, count),
        )
        for place, (row, text_id) in enumerate(zip(rows, text_B.tolist(), strict=True))
    ]


def _room(number: int, request: Request, model: MiMoAudio) -> int:
    """How many groups a request may get."""
    context, groups = model.spec.context_groups, request.prompt.shape[-1] // model.spec.group_size
    if groups >= context:
        raise ModelError(
            f"request {number}: a prompt of {groups} groups leaves no room in the context of "
            f"{context}; shorten its audio or its text"
        )
    return min(context - groups, request.max_new or context)


def _of_channels(given: tuple[Sampling, ...], channels: int) -> tuple[Sampling, ...]:
    if len(given) == 1:
        return given * channels
    if len(given) != channels:
        raise ModelError(
            f"speech has settings for {len(given)} channels, wanted one for all or {channels}"
        )
    return given


def _drop(items: list[_Item], place: int) -> None:
    """What `KVCache.drop` does to its rows: the last one takes the place."""
    items[place] = items[-1]
    items.pop()
