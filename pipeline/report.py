"""One page about a job: what came in, what was kept, why the rest was not, what it cost, samples.

The page is a single file without any script. All text of unknown origin is escaped, and stripped of
characters that turn the reading direction; a content security policy forbids the rest.
"""

import base64
import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from pipeline.chart import histogram_svg
from pipeline.report_distributions import MEASURES, Distribution, read_distributions
from pipeline.report_figures import read_funnel, read_headline, read_languages, read_losses
from pipeline.report_format import FILTERS
from pipeline.report_rows import (
    read_costs,
    read_engines,
    read_failures,
    read_first_and_last_uri,
    read_runs,
    read_samples,
    read_stages,
)
from pipeline.score_result import Score
from pipeline.shown_text import clean, common_folder, shown_name
from schemas.errors import StorageError
from schemas.failures import ERROR_CLASSES

TEMPLATE = "report_page.html.j2"
CLIP_MIME = "audio/ogg"
MAX_SCORE_ROWS = 100
Clip = Callable[[Mapping[str, Any]], bytes | None]

_FIGURES = (
    ("snr_db", "SNR", "dB", 1),
    ("bandwidth_hz", "bandwidth", "Hz", 0),
    ("dnsmos_ovrl", "DNSMOS", "", 2),
    ("asr_confidence", "confidence", "", 2),
    ("words_per_s", "words/s", "", 1),
    ("conversational_quality", "conversation", "", 1),
    ("knowledge_density", "knowledge", "", 1),
    ("logical_reasoning", "reasoning", "", 1),
)
"""Column, label, unit and decimals of the figures under a sample."""
_CAPTIONS = (
    ("Voice", "caption_voice_en", "caption_voice_zh"),
    ("Style", "caption_style_en", "caption_style_zh"),
    ("Scene", "caption_scene_en", "caption_scene_zh"),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A segment as the page shows it."""

    row: Mapping[str, Any]
    name: str
    start_s: float
    end_s: float
    figures: Sequence[tuple[str, float, str, int]]
    captions: Sequence[tuple[str, str, str]]
    flags: Sequence[str]
    audio: str | None
    """The clip as a data: URI."""


def write_report(
    connection: duckdb.DuckDBPyConnection,
    out: Path,
    *,
    job_name: str,
    score: Score | None,
    clip: Clip,
) -> Path:
    """Writes `out/report/index.html` and returns its path; an older page is replaced whole.

    `connection` holds the tables of the manifest. `clip` gets a row of `segments` (with the `uri`
    of its recording) and gives Ogg bytes to listen to, or None where there are none.
    The same rows give the same page.
    """
    page = render_page(connection, job_name=job_name, score=score, clip=clip)
    path = out / "report" / "index.html"
    partial = path.with_name(f".index.{os.getpid()}.html")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(page, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise StorageError(
            f"{path}: the report cannot be written ({error.strerror}); free space or choose "
            "another output, then run `audiomill report` again"
        ) from error
    return path


def render_page(
    connection: duckdb.DuckDBPyConnection,
    *,
    job_name: str,
    score: Score | None,
    clip: Clip,
) -> str:
    """The page as HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    folder = common_folder(*read_first_and_last_uri(connection))
    environment.filters |= {**FILTERS, "name": lambda uri: shown_name(uri, folder)}
    headline = read_headline(connection)
    distributions = read_distributions(connection)
    measured = {distribution.measure for distribution in distributions}
    num_failures, failures = read_failures(connection)
    return environment.get_template(TEMPLATE).render(
        job_name=job_name,
        headline=headline,
        funnel=read_funnel(connection, headline),
        losses=read_losses(connection),
        languages=read_languages(connection),
        charts=[_chart(distribution) for distribution in distributions],
        unmeasured=[measure.title for measure in MEASURES if measure not in measured],
        stages=read_stages(connection),
        costs=read_costs(connection),
        runs=read_runs(connection),
        num_failures=num_failures,
        failures=failures,
        error_classes=ERROR_CLASSES,
        score=score,
        max_score_rows=MAX_SCORE_ROWS,
        engines=read_engines(connection),
        samples={
            "kept": [_sample(row, clip, folder) for row in read_samples(connection, kept=True)],
            "dropped": [_sample(row, clip, folder) for row in read_samples(connection, kept=False)],
        },
    )


def _finalize(value: object) -> object:
    """What an expression of the template becomes, before it is escaped."""
    from markupsafe import Markup

    if value is None:
        return ""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _chart(distribution: Distribution) -> dict[str, Any]:
    from markupsafe import Markup

    measure = distribution.measure
    label = f"Histogram of {measure.title}" + (f" in {measure.unit}" if measure.unit else "")
    # The drawing is made of numbers and of titles of this package, so it may stand as it is.
    return {"of": distribution, "svg": Markup(histogram_svg(distribution.histogram, label))}


def _sample(row: Mapping[str, Any], clip: Clip, folder: str) -> Sample:
    encoded = clip(row)
    audio = base64.b64encode(encoded).decode() if encoded else None
    return Sample(
        row=row,
        name=shown_name(row["uri"], folder),
        start_s=row["start_sample"] / row["sample_rate_hz"],
        end_s=row["end_sample"] / row["sample_rate_hz"],
        figures=[
            (label, row[column], unit, decimals)
            for column, label, unit, decimals in _FIGURES
            if row[column] is not None
        ],
        captions=[
            (view, row[english] or "", row[chinese] or "")
            for view, english, chinese in _CAPTIONS
            if row[english] or row[chinese]
        ],
        flags=[
            flag
            for column in ("asr_flags", "safety_flags", "pii_kinds")
            for flag in row[column] or ()
        ],
        audio=f"data:{CLIP_MIME};base64,{audio}" if audio else None,
    )
