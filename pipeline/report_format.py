"""How figures are written for people."""

from collections.abc import Callable
from typing import Any

from pipeline.score_result import percent

NO_FIGURE = "–"


def span(seconds: float | None) -> str:
    """A length of audio or of computing: `12.3 s`, `4.5 min`, `1,234 h`."""
    if seconds is None:
        return NO_FIGURE
    if seconds < 90:
        return f"{seconds:.1f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.1f} min"
    hours = seconds / 3600
    return f"{hours:,.1f} h" if hours < 1000 else f"{hours:,.0f} h"


def clock(seconds: float) -> str:
    """A place in a recording: `1:02:03.4`."""
    tenths = round(seconds * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    tail = f"{minutes:02d}" if hours else f"{minutes}"
    return (f"{hours}:" if hours else "") + f"{tail}:{tenths // 10:02d}.{tenths % 10}"


def count(number: int) -> str:
    """An integer with separators."""
    return f"{number:,}"


def figure(value: float | None, decimals: int | None = None) -> str:
    """A measured value; three significant digits where the decimals are not given."""
    if value is None:
        return NO_FIGURE
    if decimals is None:
        decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{decimals}f}".replace("-", "−")


def money(amount: float, currency: str) -> str:
    """An amount; small ones with more decimals, so that a demo does not cost nothing."""
    return f"{amount:,.2f} {currency}" if amount >= 0.1 else f"{amount:.4f} {currency}"


def share(part: float, whole: float) -> float:
    """`part` of `whole` in percent, 0 to 100, for the width of a bar."""
    return round(max(0.0, min(100.0, 100 * part / whole)), 2) if whole > 0 else 0.0


FILTERS: dict[str, Callable[..., Any]] = {
    "span": span,
    "clock": clock,
    "count": count,
    "figure": figure,
    "money": money,
    "share": share,
    "percent": percent,
}
