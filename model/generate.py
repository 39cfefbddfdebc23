"""Text and speech in one stream, for several requests at once, group by group.

A group is one text id, or one patch of G frames of codes where that id is `<|empty|>`. Each request
has its own prompt, settings, seed and end; what it gets does not depend on the others.
"""

# Shapes: C audio channels, G frames of a group, T frames of a grid.

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch

from model.choose import Choice, Chooser, Chosen
from model.layout import Codes, Grid
from model.mimo import MiMoAudio
from model.prompt_ids import pad_prompts
from model.sampling import Draws, Sampling
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
    batch = _Batch(
        model,
        [
            _Row.of(number, request, model, room=room[number], speech=speech[number])
            for number, request in enumerate(requests)
        ],
    )
    while batch.rows:
        yield from batch.next()


@dataclass(kw_only=True, slots=True)
class _Row:
    number: int
    request: Request
    room: int
    """Groups that it may still get at the start."""
    choice: Choice

    @classmethod
    def of(
        cls,
        number: int,
        request: Request,
        model: MiMoAudio,
        *,
        room: int,
        speech: tuple[Sampling, ...],
    ) -> "_Row":
        stops = torch.tensor(sorted(request.stop_ids), dtype=torch.int64, device=model.device)
        choice = Choice(
            text=request.text,
            speech=speech,
            stops=stops,
            min_new=request.min_new,
            draws=Draws(request.seed, 1 + model.spec.group_size * model.spec.num_channels),
        )
        return cls(number=number, request=request, room=room, choice=choice)

    def finish(self, text_id: int, count: int) -> Finish | None:
        """Why the group after `count` others ends it, if it does."""
        if text_id in self.request.stop_ids:
            return "stop"
        return "length" if count + 1 >= self.room else None


class _Batch:
    """The requests that are not finished, and where the model stands with them."""

    @torch.inference_mode()
    def __init__(self, model: MiMoAudio, rows: list[_Row]) -> None:
        self.rows = rows
        self._model, self._chooser, self._count = model, Chooser(model), 0
        prompts = [torch.from_numpy(np.asarray(row.request.prompt)) for row in rows]
        input_ids, lengths = pad_prompts(prompts, model.spec)
        capacity = max(length + row.room for length, row in zip(lengths, rows, strict=True))
        self._cache = model.new_cache(len(rows), capacity)
        self._found = model.prefill(input_ids.to(model.device), lengths, self._cache)
        self._appended: Chosen | None = None

    @torch.inference_mode()
    def next(self) -> list[Group]:
        """One group of each request; those that it finishes leave."""
        if self._appended is not None:
            last = self._appended
            self._found = self._model.step(last.text, last.codes, self._cache, last.speaking)
        choices = [row.choice for row in self.rows]
        chosen = self._chooser.choose(choices, *self._found, self._count)
        codes = chosen.codes.cpu().numpy()
        groups = [
            Group(
                request=row.number,
                text_id=text_id,
                codes=codes[place].copy() if place in chosen.speaking else None,
                finish=row.finish(text_id, self._count),
            )
            for place, (row, text_id) in enumerate(zip(self.rows, chosen.text_ids, strict=True))
        ]
        # From the last row on: the last takes a finished one's place, and has been looked at.
        kept = list(range(len(self.rows)))
        for place in reversed(range(len(self.rows))):
            if groups[place].finish is not None:
                self._cache.drop(place)
                _drop(self.rows, place)
                _drop(kept, place)
        self._appended = chosen if len(kept) == len(groups) else chosen.of(kept)
        self._count += 1
        return sorted(groups, key=lambda group: group.request)


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
