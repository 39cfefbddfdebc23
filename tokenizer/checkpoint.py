"""Folders with `config.json` and `model.safetensors`, read and written key for key."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from schemas.errors import TokenizerError
from tokenizer.model import TokenizerModel
from tokenizer.spec import TokenizerSpec, read_config

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
TRAINING_BUFFERS = ("inited", "cluster_size", "embed_avg")
"""Of each codebook: needed to train on, absent from some files."""

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


def load_model(
    folder: Path, device: torch.device, dtype: torch.dtype
) -> tuple[TokenizerModel, str]:
    """The model of a folder and the digest of its encoder's weights.

    Names and shapes are compared before any weight is read. Each tensor is then read into memory of
    its own, converted and placed before the next, so the weights exist once.
    """
    spec = TokenizerSpec.read(folder / CONFIG_NAME)
    path = folder / WEIGHTS_NAME
    model = TokenizerModel.without_storage(spec)
    wanted = model.state_dict()
    header, data_start = _read_header(path)
    _check_layout(path, header, wanted)
    kept_float32 = model.float32_names()
    digests: dict[str, str] = {}
    with path.open("rb") as file:
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            tensor = _read_tensor(file.fileno(), entry, data_start)
            if _decides_codes(name):
                digests[name] = tensor_digest(name, tensor)
            target = torch.float32 if name in kept_float32 else dtype
            _place(model, name, tensor.to(device, target))
    _fill_training_buffers(model, set(wanted) - set(header), device)
    return model.eval().requires_grad_(False), digest_of(digests)


def save_model(model: TokenizerModel, folder: Path, extra: dict[str, Any]) -> None:
    """Write the folder that `load_model` reads; `extra` is kept under "audiomill" in the config."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {**model.spec.to_config(), "audiomill": extra}
    (folder / CONFIG_NAME).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    unfinished = folder / f"{WEIGHTS_NAME}.part"
    save_file(
        {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()},
        unfinished,
        metadata={"format": "pt"},
    )
    os.replace(unfinished, folder / WEIGHTS_NAME)


def read_extra(folder: Path) -> dict[str, Any]:
    """What `save_model` kept beside the published keys; empty for a released folder."""
    extra = read_config(folder / CONFIG_NAME).get("audiomill", {})
    return extra if isinstance(extra, dict) else {}


def weights_digest(model: TokenizerModel) -> str:
    """The digest that `load_model` gives for this model's encoder once it is saved."""
    return digest_of(
        {
            name: tensor_digest(name, tensor)
            for name, tensor in model.state_dict().items()
            if _decides_codes(name)
        }
    )


def tensor_digest(name: str, tensor: Tensor) -> str:
    """SHA-256 of a name, a shape and the values as float32."""
    values = tensor.detach().to("cpu", torch.float32).contiguous()
    digest = hashlib.sha256(f"{name} {tuple(values.shape)}".encode())
    digest.update(_bytes_of(values))
    return digest.hexdigest()


def digest_of(digests: dict[str, str]) -> str:
    """One digest of many, whatever order they came in."""
    return hashlib.sha256("".join(digests[name] for name in sorted(digests)).encode()).hexdigest()


def _decides_codes(name: str) -> bool:
    return name.startswith("encoder.") and not name.endswith(TRAINING_BUFFERS)


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if 2 <= length <= size - 8 else None
    except FileNotFoundError:
        raise TokenizerError(f"{path}: no such file; a tokenizer folder has one") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        header = None
    if not isinstance(header, dict):
        raise TokenizerError(f"{path}: not a safetensors file (its header cannot be read)")
    header.pop("__metadata__", None)
    last = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if 8 + length + last != size:
        raise TokenizerError(
            f"{path}: is {size} bytes, its header asks for {8 + length + last}; fetch it again"
        )
    return header, 8 + length


def _check_layout(path: Path, header: dict[str, Any], wanted: dict[str, Tensor]) -> None:
    missing = [
        name for name in wanted if name not in header and not name.endswith(TRAINING_BUFFERS)
    ]
    if missing:
        raise TokenizerError(
            f"{path}: key {missing[0]!r} is missing{_and_more(missing)}; config.json asks for it"
        )
    unknown = [name for name in header if name not in wanted]
    if unknown:
        raise TokenizerError(
            f"{path}: key {unknown[0]!r} is unknown{_and_more(unknown)}; "
            f"the model of config.json has no such tensor"
        )
    for name, entry in header.items():
        found, shape = list(entry["shape"]), list(wanted[name].shape)
        if found != shape:
            raise TokenizerError(f"{path}: key {name!r} has shape {found}, wanted {shape}")
        if entry["dtype"] not in _DTYPES:
            raise TokenizerError(
                f"{path}: key {name!r} is {entry['dtype']}, wanted one of {', '.join(_DTYPES)}"
            )


def _and_more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _read_tensor(descriptor: int, entry: dict[str, Any], data_start: int) -> Tensor:
    """One tensor in memory of its own: a mapped file would hold its pages beside the copy."""
    dtype = _DTYPES[entry["dtype"]]
    tensor = torch.empty(entry["shape"], dtype=dtype)
    first, last = entry["data_offsets"]
    target = _bytes_of(tensor)
    if last - first != len(target):
        raise TokenizerError(
            f"a tensor of shape {entry['shape']} has {last - first} bytes, wanted {len(target)}"
        )
    done = 0
    while done < len(target):
        count = os.preadv(descriptor, [target[done:]], data_start + first + done)
        if count == 0:
            raise TokenizerError("the weights end early; fetch them again")
        done += count
    return tensor


def _bytes_of(tensor: Tensor) -> memoryview:
    return tensor.view(-1).view(torch.uint8).numpy().data


def _place(model: nn.Module, name: str, tensor: Tensor) -> None:
    path, _, leaf = name.rpartition(".")
    module = model.get_submodule(path)
    if leaf in module._parameters:
        module._parameters[leaf] = nn.Parameter(tensor, requires_grad=False)
    else:
        module._buffers[leaf] = tensor


def _fill_training_buffers(model: TokenizerModel, names: set[str], device: torch.device) -> None:
    """Statistics under which the codebooks stay as they are until training moves them."""
    count = max(1.0, model.spec.dead_code_threshold)
    for name in names:
        path, _, leaf = name.rpartition(".")
        embed = model.get_buffer(f"{path}.embed")
        if leaf == "inited":
            _place(model, name, torch.ones(1, device=device))
        elif leaf == "cluster_size":
            _place(model, name, torch.full(embed.shape[:1], count, device=device))
        else:
            _place(model, name, embed * count)
