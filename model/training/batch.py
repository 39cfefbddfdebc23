"""What one process sees in one step: documents side by side, ids and labels."""

# Shapes: C audio channels, T frames, P positions (groups of G frames).

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.documents import Documents
from model.spec import ModelSpec
from model.tasks import Example
from schemas.errors import ModelError


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedBatch:
    """Documents of any number of sequences in one row; padding is a document without labels."""

    input_ids: Tensor
    """int64 `[1 + C, T]`, laid out as `model.layout` has it."""
    labels: Tensor
    """int64 `[1 + C, T]`: the ids where they are trained, `FILLER` elsewhere. A position is trained
    on its codes where its label in row 0 is `<|empty|>`."""
    documents: Documents

    @property
    def num_positions(self) -> int:
        return self.documents.num_positions

    def to(self, device: torch.device) -> "PackedBatch":
        return PackedBatch(
            input_ids=self.input_ids.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
            documents=self.documents,
        )


def pack(examples: Sequence[Example], spec: ModelSpec) -> PackedBatch:
    """The examples as documents, in order. Raises `ModelError` for one that is no whole group."""
    lengths = []
    for number, example in enumerate(examples):
        frames = example.ids.shape[1]
        if frames == 0 or frames % spec.group_size or example.labels.shape != example.ids.shape:
            raise ModelError(
                f"example {number}: ids {list(example.ids.shape)} and labels "
                f"{list(example.labels.shape)}, wanted equal shapes and frames in groups of "
                f"{spec.group_size}"
            )
        lengths.append(frames // spec.group_size)
    return PackedBatch(
        input_ids=torch.cat([torch.from_numpy(example.ids) for example in examples], dim=1),
        labels=torch.cat([torch.from_numpy(example.labels) for example in examples], dim=1),
        documents=Documents(tuple(lengths)),
    )


def unpadded(input_ids: Tensor, labels: Tensor, lengths: Sequence[int], group: int) -> PackedBatch:
    """Rows `[B, 1 + C, T]` padded on the right, of `lengths` groups each, as documents."""
    frames = [length * group for length in lengths]
    return PackedBatch(
        input_ids=torch.cat([row[:, :n] for row, n in zip(input_ids, frames, strict=True)], dim=1),
        labels=torch.cat([row[:, :n] for row, n in zip(labels, frames, strict=True)], dim=1),
        documents=Documents(tuple(lengths)),
    )
