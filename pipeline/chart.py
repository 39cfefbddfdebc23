"""A histogram as an SVG element that takes its colours from the page it stands in."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import StringIO

_INK, _LINE, _KEPT, _REST = "#010101", "#020202", "#030303", "#040404"
_VARIABLES = {_INK: "--muted", _LINE: "--line", _KEPT: "--kept", _REST: "--rest"}
"""Colours that matplotlib draws with, and the CSS variables that take their place: light and dark
pages show the same picture."""
_SIZE_INCHES = (3.2, 1.35)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts per bin of equal width from `low` to `high`. What lies beyond is in the end bins."""

    low: float
    high: float
    kept: Sequence[int]
    rest: Sequence[int]
    kept_median: float | None


def histogram_svg(histogram: Histogram, label: str) -> str:
    """`<svg>` with kept counts below, the others on top, and a line at the median of the kept.

    `label` is read out by screen readers; the same histogram and label give the same bytes. No
    script, no style sheet, no reference to anything outside the element.
    """
    import numpy as np
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    edges = np.linspace(histogram.low, histogram.high, len(histogram.kept) + 1)
    kept = np.asarray(histogram.kept)
    stacked = kept + np.asarray(histogram.rest)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": label, "font.size": 8}):
        figure = Figure(figsize=_SIZE_INCHES, frameon=False)
        FigureCanvasSVG(figure)
        axes = figure.add_axes((0.03, 0.17, 0.94, 0.80), frameon=False)
        axes.stairs(stacked, edges, baseline=kept, fill=True, color=_REST, linewidth=0)
        axes.stairs(kept, edges, fill=True, color=_KEPT, linewidth=0)
        if histogram.kept_median is not None:
            inside = min(max(histogram.kept_median, histogram.low), histogram.high)
            axes.axvline(inside, color=_INK, linewidth=1, linestyle=(0, (2, 2)))
        axes.axhline(0, color=_LINE, linewidth=1.5)
        axes.set_xlim(histogram.low, histogram.high)
        axes.set_ylim(0, max(1, stacked.max()) * 1.05)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.tick_params(axis="x", length=0, colors=_INK, labelsize=8, pad=3)
        axes.set_yticks([])
        file = StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return _for_inlining(file.getvalue(), label)


def _for_inlining(document: str, label: str) -> str:
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    # Numbered ids would stand twice on a page of several charts; those of clip paths are salted.
    svg = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", svg)
    svg = re.sub(r"font-family: [^;\"]+; ", "", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    view_box = re.search(r'viewBox="[^"]+"', svg)
    body = svg[svg.index(">") + 1 :]
    kept = view_box.group() if view_box else ""
    return f'<svg {kept} role="img" aria-label="{escape(label)}">{body.strip()}'
