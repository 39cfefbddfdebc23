"""Tables: written out, documented, one type per name."""

import pytest

from schemas.column import TABLE_KEY, VERSION_KEY
from schemas.errors import ItemError, OutputError
from schemas.ids import digest, segment_id, source_id
from schemas.manifest import TABLES
from schemas.tokens import shard_columns, shard_schema


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
def test_every_column_is_documented_and_carries_its_doc_into_parquet(table: object) -> None:
    found = TABLES[getattr(table, "name", "")]
    schema = found.schema()
    assert schema.metadata[TABLE_KEY].decode() == found.name
    assert schema.metadata[VERSION_KEY].decode() == str(found.version)
    for column in found.columns:
        assert len(column.doc) > 8
        assert schema.field(column.name).metadata[b"doc"].decode() == column.doc
    assert set(found.key) <= found.column_names


def test_a_name_has_one_type_in_all_tables() -> None:
    types: dict[str, set[str]] = {}
    for table in TABLES.values():
        for column in table.columns:
            types.setdefault(column.name, set()).add(str(column.type))
    assert {name: found for name, found in types.items() if len(found) > 1} == {}


def test_a_row_with_an_unknown_name_is_refused() -> None:
    with pytest.raises(OutputError, match="loudness_lux"):
        TABLES["turns"].to_arrow([{"loudness_lux": 1.0}])


def test_rows_are_ordered_by_key_whatever_order_they_come_in() -> None:
    row: dict[str, object] = dict.fromkeys(TABLES["failures"].column_names, "x")
    rows = [row | {"source_id": name} for name in "bac"]
    found = TABLES["failures"].to_arrow(rows)["source_id"].to_pylist()
    assert found == ["a", "b", "c"]


def test_a_shard_has_a_column_per_layer() -> None:
    names = [column.name for column in shard_columns(8)]
    assert names[-8:] == [f"q{layer}" for layer in range(8)]
    assert shard_schema(3, "f").names[-3:] == ["q0", "q1", "q2"]


def test_ids_tell_apart_what_differs_and_cannot_be_run_together() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert source_id("a.wav", 10, "1") != source_id("a.wav", 10, "2")
    assert segment_id("r", 1, 23) != segment_id("r", 12, 3)
    assert len(segment_id("r", 0, 1)) == 32


def test_an_item_error_survives_the_way_between_processes() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(ItemError("NOT_AUDIO", "a sentence")))
    assert (error.error_class, str(error)) == ("NOT_AUDIO", "a sentence")
