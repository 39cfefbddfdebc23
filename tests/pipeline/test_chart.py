"""`pipeline/chart.py`: drawings that need nothing beyond the page."""

import re

from pipeline.chart import Histogram, histogram_svg


def test_a_chart_takes_its_colours_from_the_page_and_is_the_same_each_time() -> None:
    histogram = Histogram(0.0, 1.0, [1, 0, 3], [0, 2, 0], 0.4)
    svg = histogram_svg(histogram, 'a "label" & <more>')
    assert svg == histogram_svg(histogram, 'a "label" & <more>')
    assert 'aria-label="a &quot;label&quot; &amp; &lt;more&gt;"' in svg
    assert {"var(--kept)", "var(--rest)"} <= set(re.findall(r"var\(--\w+\)", svg))
    assert not re.findall(r"#[0-9a-f]{6}\b", svg)
    assert not re.search(r"<script|<style|<metadata|xlink|https?://", svg)
