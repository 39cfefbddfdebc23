"""`pipeline/report_distributions.py`: every finite value is in a histogram, once."""

import pytest

from pipeline.chart import histogram_svg
from pipeline.report_distributions import Measure, read_distributions
from schemas.errors import OutputError
from tests.pipeline.manifest_rows import connection_with, recording, segment


def test_histograms_count_every_finite_value_once() -> None:
    values = [0.0, 1.0, 2.0, 500.0, float("nan"), float("inf"), None]
    rows = [
        segment("a", index, index + 1, snr_db=value, verdict="kept" if index % 2 else "dropped")
        for index, value in enumerate(values)
    ]
    connection = connection_with(recordings=[recording("a")], segments=rows)
    (distribution,) = read_distributions(connection, [Measure("snr_db", "SNR")])
    assert sum(distribution.histogram.kept) == distribution.num_kept == 2
    assert sum(distribution.histogram.rest) == distribution.num_rest == 2
    assert distribution.histogram.kept_median == 250.5


def test_values_beyond_a_fixed_scale_are_in_its_end_bins() -> None:
    rows = [segment("a", i, i + 1, dnsmos_ovrl=value) for i, value in enumerate((0.2, 1.1, 5.9))]
    connection = connection_with(recordings=[recording("a")], segments=rows)
    (distribution,) = read_distributions(connection, [Measure("dnsmos_ovrl", "M", "", (1, 5))])
    assert (distribution.histogram.low, distribution.histogram.high) == (1, 5)
    assert distribution.histogram.kept[0] == 2
    assert distribution.histogram.kept[-1] == 1


def test_equal_values_make_a_histogram_too() -> None:
    rows = [segment("a", i, i + 1, snr_db=7.0) for i in range(3)]
    connection = connection_with(recordings=[recording("a")], segments=rows)
    (distribution,) = read_distributions(connection, [Measure("snr_db", "SNR")])
    assert sum(distribution.histogram.kept) == 3
    assert "<svg" in histogram_svg(distribution.histogram, "SNR")


def test_a_measure_that_is_no_column_is_an_error() -> None:
    with pytest.raises(OutputError, match="no column 'loudness'"):
        read_distributions(connection_with(), [Measure("loudness", "L")])
