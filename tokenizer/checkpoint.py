"""Folders with `config.json` and `model.safetensors`, read and written key for key."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from schemas.errors import TokenizerError
from tokenizer.model import TokenizerModel
from tokenizer.safetensors_file import SafetensorsFile, bytes_of, missing_key, place
from tokenizer.spec import TokenizerSpec, read_tokenizer_config

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
TRAINING_BUFFERS = ("inited", "cluster_size", "embed_avg")
"""Of each codebook: needed to train on, absent from some files."""


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
    file = SafetensorsFile(path, TokenizerError, "a tokenizer folder")
    absent = [name for name in wanted if name not in file.entries]
    missing = [name for name in absent if not name.endswith(TRAINING_BUFFERS)]
    if missing:
        raise TokenizerError(missing_key(path, missing))
    file.check(wanted)
    kept_float32 = model.float32_names()
    digests: dict[str, str] = {}
    for name in file.names():
        tensor = file.read(name)
        if _decides_codes(name):
            digests[name] = tensor_digest(name, tensor)
        target = torch.float32 if name in kept_float32 else dtype
        place(model, name, tensor.to(device, target))
    _fill_training_buffers(model, absent, device)
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
    extra = read_tokenizer_config(folder / CONFIG_NAME).get("audiomill", {})
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
    digest.update(bytes_of(values))
    return digest.hexdigest()


def digest_of(digests: dict[str, str]) -> str:
    """One digest of many, whatever order they came in."""
    return hashlib.sha256("".join(digests[name] for name in sorted(digests)).encode()).hexdigest()


def _decides_codes(name: str) -> bool:
    return name.startswith("encoder.") and not name.endswith(TRAINING_BUFFERS)


def _fill_training_buffers(model: TokenizerModel, names: list[str], device: torch.device) -> None:
    """Statistics under which the codebooks stay as they are until training moves them."""
    count = max(1.0, model.spec.dead_code_threshold)
    for name in names:
        path, _, leaf = name.rpartition(".")
        embed = model.get_buffer(f"{path}.embed")
        if leaf == "inited":
            place(model, name, torch.ones(1, device=device))
        elif leaf == "cluster_size":
            place(model, name, torch.full(embed.shape[:1], count, device=device))
        else:
            place(model, name, embed * count)
