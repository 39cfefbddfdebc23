"""Safetensors files read strictly, each tensor into memory of its own.

Layout: 8 bytes of header length, little endian; a JSON header of names with dtype, shape and byte
range; the bytes (https://github.com/huggingface/safetensors, "Format").
"""

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from schemas.errors import AudiomillError

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


MAX_HEADER_BYTES = 100_000_000
"""The format's own limit."""


class SafetensorsFile:
    """One file: its header is read and checked at once, its tensors on demand.

    `error` is the class that is raised, `owner` what such a file belongs to ("a tokenizer folder").
    """

    def __init__(self, path: Path, error: type[AudiomillError], owner: str) -> None:
        self.path = path
        self._error = error
        self.entries, self._data_start = self._read_header(owner)

    def _read_header(self, owner: str) -> tuple[dict[str, Any], int]:
        path = self.path
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                fits = 2 <= length <= min(size - 8, MAX_HEADER_BYTES)
                header = json.loads(file.read(length)) if fits else None
            if isinstance(header, dict):
                header.pop("__metadata__", None)
        except FileNotFoundError:
            raise self._error(f"{path}: no such file; {owner} has one") from None
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
            header = None
        if not isinstance(header, dict) or not all(map(_is_entry, header.values())):
            raise self._error(f"{path}: not a safetensors file (its header cannot be read)")
        last = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        if 8 + length + last != size:
            raise self._error(
                f"{path}: is {size} bytes, its header asks for {8 + length + last}; fetch it again"
            )
        return header, 8 + length

    def check(self, wanted: Mapping[str, Tensor]) -> None:
        """Every tensor of the file must be wanted, of that shape, and of a dtype of `DTYPES`."""
        unknown = [name for name in self.entries if name not in wanted]
        if unknown:
            raise self._error(
                f"{self.path}: key {unknown[0]!r} is unknown{and_more(unknown)}; "
                f"the model of config.json has no such tensor"
            )
        for name, entry in self.entries.items():
            found, shape = list(entry["shape"]), list(wanted[name].shape)
            if found != shape:
                raise self._error(f"{self.path}: key {name!r} has shape {found}, wanted {shape}")
            if entry["dtype"] not in DTYPES:
                raise self._error(
                    f"{self.path}: key {name!r} is {entry['dtype']}, "
                    f"wanted one of {', '.join(DTYPES)}"
                )

    def names(self) -> list[str]:
        """Names in the order of their bytes."""
        return sorted(self.entries, key=lambda name: self.entries[name]["data_offsets"])

    def dtype_of(self, name: str) -> torch.dtype:
        return DTYPES[self.entries[name]["dtype"]]

    def read(self, name: str) -> Tensor:
        """One tensor in memory of its own: a mapped file would hold its pages beside the copy."""
        entry = self.entries[name]
        tensor = torch.empty(entry["shape"], dtype=self.dtype_of(name))
        first, last = entry["data_offsets"]
        target = bytes_of(tensor)
        if last - first != len(target):
            raise self._error(
                f"{self.path}: key {name!r} of shape {entry['shape']} has {last - first} bytes, "
                f"wanted {len(target)}"
            )
        done = 0
        with self.path.open("rb") as file:
            while done < len(target):
                place = self._data_start + first + done
                count = os.preadv(file.fileno(), [target[done:]], place)
                if count == 0:
                    raise self._error(f"{self.path}: the weights end early; fetch them again")
                done += count
        return tensor


def missing_key(where: Path, missing: Collection[str]) -> str:
    """The message for keys that config.json asks for and no file has."""
    names = list(missing)
    return f"{where}: key {names[0]!r} is missing{and_more(names)}; config.json asks for it"


def and_more(names: Collection[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def bytes_of(tensor: Tensor) -> memoryview:
    """The memory of a contiguous tensor on the CPU."""
    return tensor.view(-1).view(torch.uint8).numpy().data


def place(model: nn.Module, name: str, tensor: Tensor) -> None:
    """Make `tensor` the parameter or buffer of that name, on whatever device it lies."""
    path, _, leaf = name.rpartition(".")
    module = model.get_submodule(path)
    if leaf in module._parameters:
        module._parameters[leaf] = nn.Parameter(tensor, requires_grad=False)
    else:
        module._buffers[leaf] = tensor


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str):
        return False
    shape, offsets = entry.get("shape"), entry.get("data_offsets")
    if not _are_counts(shape) or not _are_counts(offsets):
        return False
    return len(offsets) == 2 and offsets[0] <= offsets[1]


def _are_counts(numbers: object) -> TypeGuard[list[int]]:
    return isinstance(numbers, list) and all(type(n) is int and n >= 0 for n in numbers)
