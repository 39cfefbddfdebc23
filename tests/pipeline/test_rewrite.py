"""Files without some rows are laid out as they were, and rows are told by either id."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.manifest import Manifest
from pipeline.rewrite import Gone, files_without
from tests.pipeline.forgettable import make_forgettable


@pytest.mark.parametrize(
    ("columns", "gone"),
    [
        ({"source_id": ["x", "y", "z"], "recording_id": [None, None, "r"]}, [True, False, True]),
        ({"source_id": ["x", "y", "z"]}, [True, False, False]),
        ({"recording_id": ["x", None, "r"]}, [False, False, True]),
    ],
)
def test_a_row_goes_by_its_source_or_its_recording(
    columns: dict[str, list[str | None]], gone: list[bool]
) -> None:
    types = pa.schema([(name, pa.string()) for name in columns])
    rows = pa.table(columns, schema=types)
    assert Gone(frozenset({"x"}), frozenset({"r"})).mask(rows).to_pylist() == gone
    assert Gone(frozenset(), frozenset()).mask(rows).to_pylist() == [False] * 3


def test_a_shard_keeps_its_layout_and_nothing_is_committed(tmp_path: Path) -> None:
    out = make_forgettable(tmp_path)
    manifest = Manifest(out)
    committed = set(manifest.store.committed_files())
    first = min((out / "shards").iterdir())
    recordings = pq.read_table(first, columns=["recording_id"])["recording_id"].to_pylist()
    assert len(set(recordings)) == 2
    replacements = files_without(manifest, Gone(frozenset(), frozenset(recordings[-1:])), epoch=7)
    new = [file for one in replacements for file in one.new if file.name.startswith("shards/")]
    assert len(new) == 2, "the second shard has the rest of that recording"
    file = next(file for file in new if file.name.startswith(f"shards/{first.name[:20]}"))
    was, now = pq.ParquetFile(first), pq.ParquetFile(out / file.name)
    assert was.schema_arrow.equals(now.schema_arrow, check_metadata=True)
    assert [now.metadata.row_group(g).num_rows for g in range(now.num_row_groups)] == [2, 1]
    assert _dictionaries(was) == _dictionaries(now) != set()
    assert now.read(use_threads=False).equals(was.read().slice(0, 3))
    Manifest(out).store.refresh()
    assert set(Manifest(out).store.committed_files()) == committed


def _dictionaries(file: pq.ParquetFile) -> set[str]:
    columns = (file.metadata.row_group(0).column(c) for c in range(file.metadata.num_columns))
    return {column.path_in_schema for column in columns if column.has_dictionary_page}
