"""Reads torch's distributed checkpoints as data: tensors, numbers, words, and nothing that runs.

Torch keeps a checkpoint's table of contents and everything in it that is no tensor as pickles, and
reads them as code. A folder of checkpoints is passed on like a model, so here they are held to the
few types that such a checkpoint is made of.
"""

import io
import pathlib
import pickle
from typing import Any

import torch
from torch.distributed.checkpoint import (
    DefaultLoadPlanner,
    FileSystemReader,
    filesystem,
    metadata,
)
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import ReadItem

_KNOWN = {
    **{
        (metadata.__name__, name): getattr(metadata, name)
        for name in (
            *("Metadata", "MetadataIndex", "StorageMeta", "TensorProperties"),
            *("TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata"),
            "_MEM_FORMAT_ENCODING",
        )
    },
    (filesystem.__name__, "_StorageInfo"): filesystem._StorageInfo,
    ("torch.serialization", "_get_layout"): torch.serialization._get_layout,
    ("torch", "Size"): torch.Size,
    # A folder of the machine that wrote it; made anew as a path that opens nothing.
    ("pathlib", "PosixPath"): pathlib.PurePosixPath,
    ("pathlib", "WindowsPath"): pathlib.PureWindowsPath,
}


class PlainReader(FileSystemReader):
    """Torch's reader, for `torch.distributed.checkpoint.load(storage_reader=...)`.

    Raises `pickle.UnpicklingError` where the table of contents names anything but its own types, or
    a file outside of the checkpoint.
    """

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        path = self._get_metadata_path(kwargs.get("rank"))
        with self.fs.create_stream(path, "rb") as file:
            found = _Contents(file).load()
        if not isinstance(found, Metadata) or not isinstance(found.storage_data, dict):
            raise pickle.UnpicklingError("its .metadata is no table of contents")
        for info in found.storage_data.values():
            if pathlib.PurePath(info.relative_path).name != info.relative_path:
                raise pickle.UnpicklingError(f"it names a file elsewhere: {info.relative_path!r}")
        found.storage_meta = metadata.StorageMeta(load_id=self.load_id)
        return found


class PlainPlanner(DefaultLoadPlanner):
    """Torch's planner, for `torch.distributed.checkpoint.load(planner=...)`."""

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        torch.load(value, weights_only=True)  # raises for what is more than data
        value.seek(0)
        super().load_bytes(read_item, value)


class _Contents(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        known = _KNOWN.get((module_name, global_name))
        if known is None and module_name == "torch":
            named = getattr(torch, global_name, None)
            known = named if isinstance(named, torch.dtype) else None
        if known is None:
            wanted = f"{module_name}.{global_name}"
            raise pickle.UnpicklingError(f"its .metadata asks for {wanted}, which is no data")
        return known
