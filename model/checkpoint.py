"""Folders with `config.json` and weights in one safetensors file or in shards with an index."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from schemas.errors import ModelError
from tokenizer.safetensors_file import SafetensorsFile, missing_key, place

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"
SHARD_BYTES = 5_000_000_000
_OWNER = "a language-model folder"


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightLayout:
    """Which file each tensor lies in."""

    file_of: Mapping[str, str]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Of the index; its `total_size` is counted anew when the layout is written."""

    @property
    def sharded(self) -> bool:
        return set(self.file_of.values()) != {WEIGHTS_NAME}


def load_weights(
    model: nn.Module, folder: Path, device: torch.device, dtype: torch.dtype | None
) -> WeightLayout:
    """Fill a model that has no storage from a folder; where its tensors lay is returned.

    All names and shapes of all shards are compared before any weight is read. Each tensor is then
    read into memory of its own and placed before the next, so the weights exist once. `dtype` None
    keeps that of the text embedding for all.
    """
    wanted = model.state_dict()
    layout = _read_layout(folder)
    files = {
        name: SafetensorsFile(folder / name, ModelError, _OWNER)
        for name in sorted(set(layout.file_of.values()))
    }
    missing = [name for name in wanted if name not in layout.file_of]
    if missing:
        where = INDEX_NAME if layout.sharded else WEIGHTS_NAME
        raise ModelError(missing_key(folder / where, missing))
    for file_name, file in files.items():
        file.check(wanted)
        listed = {name for name, where in layout.file_of.items() if where == file_name}
        _check_shard(folder, file, listed)
    if dtype is None:
        embedding = "model.embed_tokens.weight"
        dtype = files[layout.file_of[embedding]].dtype_of(embedding)
    for file in files.values():
        for name in file.names():
            place(model, name, file.read(name).to(device, dtype))
    return layout


def save_weights(
    model: nn.Module, folder: Path, layout: WeightLayout | None, shard_bytes: int = SHARD_BYTES
) -> None:
    """Write the weights: as `layout` says, or in shards of at most `shard_bytes` if it is None.

    One file needs no index. Tensors on another device are copied shard by shard. Each file takes
    its place when it is complete.
    """
    state = model.state_dict()
    layout = layout or plan_layout(state, shard_bytes)
    for file_name in sorted(set(layout.file_of.values())):
        tensors = {
            name: tensor.detach().cpu().contiguous()
            for name, tensor in state.items()
            if layout.file_of[name] == file_name
        }
        unfinished = folder / f"{file_name}.part"
        save_file(tensors, unfinished, metadata={"format": "pt"})
        os.replace(unfinished, folder / file_name)
    if not layout.sharded:
        (folder / INDEX_NAME).unlink(missing_ok=True)
        return
    total = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    index = {
        "metadata": {**layout.metadata, "total_size": total},
        "weight_map": dict(layout.file_of),
    }
    write_json(folder / INDEX_NAME, index)
    (folder / WEIGHTS_NAME).unlink(missing_ok=True)  # it would be read in place of the shards


def plan_layout(state: Mapping[str, Tensor], shard_bytes: int) -> WeightLayout:
    """Shards filled in the order of the state dict, none above `shard_bytes` but by one tensor."""
    shard, used, shard_of = 1, 0, {}
    for name, tensor in state.items():
        size = tensor.numel() * tensor.element_size()
        if used and used + size > shard_bytes:
            shard, used = shard + 1, 0
        used += size
        shard_of[name] = shard
    if shard == 1:
        return WeightLayout(file_of=dict.fromkeys(state, WEIGHTS_NAME))
    return WeightLayout(
        file_of={
            name: f"model-{number:05d}-of-{shard:05d}.safetensors"
            for name, number in shard_of.items()
        }
    )


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Two spaces and sorted keys, as the published files have; in place once complete."""
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def _read_layout(folder: Path) -> WeightLayout:
    """The single file where there is one, else what the index says."""
    single, path = folder / WEIGHTS_NAME, folder / INDEX_NAME
    if single.exists() or not path.exists():
        file = SafetensorsFile(single, ModelError, f"{_OWNER} without {INDEX_NAME}")
        return WeightLayout(file_of=dict.fromkeys(file.entries, WEIGHTS_NAME))
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        file_of, metadata = dict(index["weight_map"]), dict(index.get("metadata", {}))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: not an index of shards ({error!r}); fetch it again") from None
    for name, file_name in file_of.items():
        if not isinstance(file_name, str) or Path(file_name).name != file_name:
            raise ModelError(
                f"{path}: key {name!r} is said to lie in {file_name!r}, wanted the plain name of a "
                "file in the same folder"
            )
    return WeightLayout(file_of=file_of, metadata=metadata)


def _check_shard(folder: Path, file: SafetensorsFile, listed: set[str]) -> None:
    absent = sorted(listed - set(file.entries))
    if absent:
        raise ModelError(
            f"{file.path}: key {absent[0]!r} is missing; {INDEX_NAME} says that it lies here, "
            "fetch both again"
        )
    extra = sorted(set(file.entries) - listed)
    if extra:
        raise ModelError(
            f"{file.path}: key {extra[0]!r} is not what {folder / INDEX_NAME} says of this file; "
            "fetch both again"
        )
