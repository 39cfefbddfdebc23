"""A source of batches made on the spot: echo tasks that a tiny model learns within some steps."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model import MiMoAudio
from model.small import tiny_model
from model.tasks import Example, Tasks
from model.text import TextTokenizer
from model.training.samples import SampleRow, lay_out
from model.training.spec import TrainSpec

SEQUENCES = 4
_TASKS = ("interleaved", "asr_document", "tts_document", "text")


class MadeSource:
    """Sequences of two documents each, drawn from the step's number alone."""

    def __init__(self, model: MiMoAudio) -> None:
        self.facts: Mapping[str, Any] = {"manifest": "made"}
        self._tasks = Tasks(TextTokenizer.of_bytes(), empty_codes=model.spec.empty_codes)

    def sequences(self, step: int, rank: int, world: int) -> Sequence[Sequence[Example]]:
        share = SEQUENCES // world
        return [self._sequence(step, n) for n in range(rank * share, (rank + 1) * share)]

    def _sequence(self, step: int, number: int) -> list[Example]:
        random = np.random.default_rng((step, number))
        return [self._document(random) for _ in range(2)]

    def _document(self, random: np.random.Generator) -> Example:
        # The codes say the letters again, so there is something to learn.
        letters = random.integers(97, 101, int(random.integers(4, 10)))
        row = SampleRow(
            segment_id="s",
            recording_id="r",
            speaker="S",
            start_s=0.0,
            end_s=1.0,
            text=bytes(letters.tolist()).decode(),
            language="en",
            caption_en=None,
            caption_zh=None,
            codes=np.repeat((letters - 97)[:, None], 8, axis=1),
        )
        return lay_out(self._tasks, _TASKS[int(random.integers(len(_TASKS)))], row, random)


def spec_of(output: object, changes: dict[str, Any] | None = None) -> TrainSpec:
    """A run of 12 steps; `changes` are top-level keys."""
    raw: dict[str, Any] = {
        "name": "tiny",
        "output": str(output),
        "model": {"size": "tiny"},
        "data": {
            "sources": [{"uri": "unused", "tasks": {"text": 1.0}}],
            "sequences_per_step": SEQUENCES,
        },
        "steps": 12,
        "optimizer": {
            "learning_rates": {"patch_encoder": 3e-3, "backbone": 3e-3, "patch_decoder": 3e-3},
            "warmup_ratio": 0.1,
        },
        "run": {"sequences_per_pass": 2, "log_every": 4, "checkpoint_every": 5},
    }
    return TrainSpec.model_validate(raw | (changes or {}))


def parts() -> tuple[MiMoAudio, MadeSource, TextTokenizer]:
    """Model, source and text tokenizer of a run."""
    model = tiny_model(seed=0)
    return model, MadeSource(model), TextTokenizer.of_bytes()
