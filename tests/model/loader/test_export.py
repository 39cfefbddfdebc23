"""What `export_shards` writes, read by the layouts that the formats' readers expect."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from model.loader.export import export_shards
from model.loader.export_formats import FORMATS
from schemas.errors import OutputError, SpecError, StorageError
from tests.model.loader.conftest import NUM_ROWS

FILE_BYTES = 30_000
Row = tuple[str, np.ndarray, Mapping[str, Any]]


def read_webdataset(folder: Path) -> Iterator[Row]:
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            names = tar.getnames()
            for codes_name, json_name in zip(names[::2], names[1::2], strict=True):
                stem = codes_name.removesuffix(".codes.npy")
                assert json_name == f"{stem}.json"  # a sample is files of one stem in a row
                codes, metadata = (_content(tar, name) for name in (codes_name, json_name))
                yield stem, np.load(io.BytesIO(codes)), json.loads(metadata)


def _content(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    return file.read()


def samples_of(content: bytes) -> Iterator[list[bytes]]:
    """The layout that MDS and LitData share: a count, offsets, samples of three sized parts."""
    count = int(np.frombuffer(content, "<u4", 1)[0])
    offsets = np.frombuffer(content, "<u4", count + 1, 4).tolist()
    assert offsets[-1] == len(content)
    for start, stop in pairwise(offsets):
        sizes = np.frombuffer(content, "<u4", 3, start)
        ends = [start + 12, *(start + 12 + np.cumsum(sizes)).tolist()]
        assert ends[-1] == stop
        yield [content[a:b] for a, b in pairwise(ends)]


def read_mds(folder: Path) -> Iterator[Row]:
    index = json.loads((folder / "index.json").read_text())
    assert index["version"] == 2
    for shard in index["shards"]:
        assert (shard["format"], shard["compression"], shard["zip_data"]) == ("mds", None, None)
        assert shard["column_names"] == ["codes", "metadata", "segment_id"]
        assert shard["column_encodings"] == ["ndarray:uint16", "json", "str"]
        content = (folder / shard["raw_data"]["basename"]).read_bytes()
        assert len(content) == shard["raw_data"]["bytes"] <= FILE_BYTES
        assert hashlib.sha1(content).hexdigest() == shard["raw_data"]["hashes"]["sha1"]
        samples = list(samples_of(content))
        assert len(samples) == shard["samples"]
        for codes, metadata, segment_id in samples:
            num_axes, width = codes[0] >> 2, 1 << (codes[0] & 3)
            shape = np.frombuffer(codes, f"<u{width}", num_axes, 1)
            values = np.frombuffer(codes, "<u2", offset=1 + num_axes * width)
            yield segment_id.decode(), values.reshape(shape), json.loads(metadata)


def read_litdata(folder: Path) -> Iterator[Row]:
    index = json.loads((folder / "index.json").read_text())
    config = index["config"]
    assert config["data_format"] == ["str", "numpy", "str"]
    _, tree = json.loads(config["data_spec"])
    assert tree["type"] == "builtins.dict"
    assert json.loads(tree["context"]) == ["segment_id", "codes", "metadata"]
    for chunk in index["chunks"]:
        content = (folder / chunk["filename"]).read_bytes()
        assert len(content) == chunk["chunk_bytes"] <= FILE_BYTES
        samples = list(samples_of(content))
        assert len(samples) == chunk["chunk_size"]
        for segment_id, codes, metadata in samples:
            kind, num_axes = np.frombuffer(codes, "<u4", 2)
            assert kind == 5  # uint16
            shape = np.frombuffer(codes, "<u4", num_axes, 8)
            values = np.frombuffer(codes, "<u2", offset=8 + 4 * int(num_axes))
            yield segment_id.decode(), values.reshape(shape), json.loads(metadata)


READERS: Mapping[str, Callable[[Path], Iterator[Row]]] = {
    "webdataset": read_webdataset,
    "mds": read_mds,
    "litdata": read_litdata,
}


def rows_of_shards(output: Path) -> dict[str, dict[str, Any]]:
    found = [
        row for path in (output / "shards").glob("*") for row in pq.read_table(path).to_pylist()
    ]
    return {str(row["segment_id"]): row for row in found}


@pytest.mark.parametrize("format", FORMATS)
def test_every_segment_is_there_once_with_its_codes_and_columns(
    output: Path, tmp_path: Path, format: str
) -> None:
    found = export_shards(str(output), tmp_path / "x", format=format, file_bytes=FILE_BYTES)
    read = list(READERS[format](tmp_path / "x"))
    wanted = rows_of_shards(output)
    assert len(read) == found.num_rows == NUM_ROWS
    assert {segment_id for segment_id, _, _ in read} == wanted.keys()
    assert found.num_frames == sum(codes.shape[1] for _, codes, _ in read)
    files = [path for path in (tmp_path / "x").iterdir() if path.name != "index.json"]
    assert len(files) == found.num_files > 3
    for segment_id, codes, metadata in read:
        row = wanted[segment_id]
        layers = [row[f"q{layer}"] for layer in range(8)]
        assert codes.dtype == np.uint16
        assert np.array_equal(codes, layers)
        assert metadata == {name: row[name] for name in metadata}
        assert metadata["text"]


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_shards_give_the_same_bytes(output: Path, tmp_path: Path, format: str) -> None:
    for name in ("one", "two"):
        export_shards(str(output), tmp_path / name, format=format)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_row_above_the_size_of_a_file_has_one_of_its_own(output: Path, tmp_path: Path) -> None:
    found = export_shards(str(output), tmp_path / "x", format="mds", file_bytes=1)
    assert found.num_files == NUM_ROWS


def test_what_cannot_be_exported_leaves_nothing(output: Path, tmp_path: Path) -> None:
    target = tmp_path / "x"
    with pytest.raises(SpecError, match="wanted one of webdataset, mds, litdata"):
        export_shards(str(output), target, format="tfrecord")
    with pytest.raises(SpecError, match="files of 0 bytes"):
        export_shards(str(output), target, format="mds", file_bytes=0)
    with pytest.raises(OutputError):
        export_shards(str(tmp_path / "nowhere"), target, format="mds")
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(StorageError, match="cannot be written"):
        export_shards(str(output), file / "x", format="mds")
    assert os.listdir(tmp_path) == ["file"]
    target.mkdir()
    with pytest.raises(OutputError, match="is there already"):
        export_shards(str(output), target, format="mds")
