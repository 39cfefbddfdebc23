"""Names of data files: what is put in comes out, and strangers' names hold no epoch."""

import pytest

from pipeline.data_name import data_name, epoch_of

SHA256 = "0123456789abcdef" * 4


@pytest.mark.parametrize("unit", ["a", "near-duplicates", "unit-7-0123456789ab"])
@pytest.mark.parametrize("epoch", [0, 7, 120])
def test_the_epoch_is_found_again(unit: str, epoch: int) -> None:
    name = data_name(unit, epoch, SHA256)
    assert name == f"{unit}-{epoch}-0123456789ab.parquet"
    assert epoch_of(name) == epoch_of(f"manifest/table=recordings/{name}") == epoch


@pytest.mark.parametrize(
    "name",
    [
        *("unit.parquet", "unit-3.parquet", "3-0123456789ab.parquet", ""),
        *("unit-03-0123456789ab.parquet", "unit--1-0123456789ab.parquet.crc"),
        *("unit-3-0123456789AB.parquet", "unit-3-0123456789a.parquet"),
        *("unit-3-0123456789ab.parquet.part", ".unit-3-0123456789ab.parquet.77.part"),
        *("unit-3-0123456789ab.parquet\n", "unit-٣-0123456789ab.parquet"),
        "unit-3-0123456789ab.parquet/stray.txt",
    ],
)
def test_other_names_hold_no_epoch(name: str) -> None:
    assert epoch_of(name) is None
