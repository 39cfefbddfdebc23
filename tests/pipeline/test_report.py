"""The page tells what SQL tells, shows hostile text as text, and is one quiet file."""

import base64
import shutil
import subprocess
from collections.abc import Mapping
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from pipeline.references import Reference, ReferenceTurn
from pipeline.report import render_page, write_report
from pipeline.report_distributions import MEASURES
from pipeline.report_figures import read_headline, read_losses
from pipeline.report_rows import read_samples, read_stages
from pipeline.score import score_manifest
from schemas.errors import StorageError
from tests.pipeline.manifest_rows import (
    Row,
    connection_with,
    failure,
    recording,
    run,
    segment,
    turn,
)

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
HOSTILE = "<img src=x onerror=alert(1)> </script><script>alert(2)</script> \"'> \u202egnp.exe\u2066"


class Page(HTMLParser):
    """Elements of a page, with the text in them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def figures(self) -> dict[str, float]:
        """The machine-readable figures by their id."""
        return {str(d["id"]): float(str(d["value"])) for d in self.all("data")}

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def silent(row: Mapping[str, Any]) -> None:
    return None


def opus_tone(row: Mapping[str, Any]) -> bytes:
    """Half a second of a tone whose pitch depends on where the segment begins."""
    import av

    phase = 2 * np.pi * (200 + row["start_sample"] % 300) * np.arange(24_000) / 48_000
    file = BytesIO()
    with av.open(file, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=48_000, layout="mono")
        resampler = av.AudioResampler(stream.format, stream.layout, stream.rate, frame_size=960)
        samples = 0.1 * np.sin(phase).astype(np.float32)[None, :]
        frame = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
        frame.sample_rate = 48_000
        for part in (*resampler.resample(frame), None):
            container.mux(stream.encode(part))
    return file.getvalue()


def small_job(num_segments: int = 20) -> duckdb.DuckDBPyConnection:
    """Three inputs, one of each outcome; every fourth segment dropped for its SNR."""
    segments: list[Row] = []
    for index in range(num_segments):
        snr_db = 5.0 if index % 4 == 0 else 20.0 + index
        dropped = {"verdict": "dropped", "reason": "snr_db_below_min", "reason_limit": 10.0}
        segments.append(
            segment(
                "/in/a.wav",
                3.0 * index,
                3.0 * index + 2.5,
                f"sentence number {index}",
                snr_db=snr_db,
                caption_voice_en="A low voice.",
                caption_voice_zh="低沉的声音。",
                **({**dropped, "reason_measured": snr_db} if snr_db < 10 else {}),
            )
        )
    stages = [
        {"stage": "decode", "engine": "pyav", "items": 3, "compute_s": 1.5},
        {"stage": "asr", "engine": "pocketsphinx", "items": 20, "compute_s": 30.0},
    ]
    return connection_with(
        recordings=[
            recording("/in/a.wav", decode_engine="pyav 18"),
            recording("/in/b.wav", outcome="rejected", reason="no_speech", decoded_s=10.0),
            recording("/in/c.wav", outcome="failed"),
        ],
        segments=segments,
        turns=[turn("/in/a.wav", 0, 0, 60, "S0")],
        failures=[failure("/in/c.wav", "decode", "NOT_AUDIO", "the bytes are text")],
        runs=[run("1", stages, hours=0.02), run("2", stages, hours=0.03, cost=0.5)],
        tokens=[
            {
                "segment_id": segments[1]["segment_id"],
                "recording_id": "r",
                "shard": "s",
                "shard_row": 0,
                "num_frames": 62,
                "tokenizer_fingerprint": "f",
            }
        ],
    )


def test_headline_figures_on_the_page_are_those_of_the_tables() -> None:
    connection = small_job()
    page = Page(render_page(connection, job_name="j", score=None, clip=silent))
    wanted = connection.execute(
        """
        SELECT count(*), count(*) FILTER (outcome = 'done'), count(*) FILTER (outcome = 'rejected'),
               count(*) FILTER (outcome = 'failed'), sum(decoded_s),
               (SELECT count(*) FROM segments),
               (SELECT count(*) FROM segments WHERE verdict = 'kept'),
               (SELECT sum(duration_s) FROM segments WHERE verdict = 'kept'),
               (SELECT sum(num_frames) FROM tokens), (SELECT count(*) FROM failures)
        FROM recordings
        """
    ).fetchone()
    ids = ["inputs", "done", "rejected", "failed", "decoded-s", "segments", "kept", "kept-s"]
    ids += ["frames", "failures"]
    assert tuple(page.figures[name] for name in ids) == wanted
    assert wanted == (3, 1, 1, 1, 70.0, 20, 15, 37.5, 62, 1)
    assert page.figures["inputs"] == sum(page.figures[n] for n in ("done", "rejected", "failed"))
    assert "53.6 % yield: kept over decoded" in page.text
    assert "0.75 USD of compute; 72.00 USD per kept hour" in page.text


def test_every_loss_has_its_reason_its_count_and_its_length() -> None:
    losses = {(loss.what, loss.reason): loss for loss in read_losses(small_job())}
    assert losses.keys() == {
        ("inputs", "no_speech"),
        ("inputs", "decode: NOT_AUDIO"),
        ("segments", "snr_db_below_min"),
    }
    snr = losses["segments", "snr_db_below_min"]
    assert (snr.count, snr.seconds, snr.median_measured, snr.limit) == (5, 12.5, 5.0, 10.0)
    assert losses["inputs", "no_speech"].seconds == 10.0


def test_a_segment_that_fails_is_a_loss_with_its_class() -> None:
    broken = segment("a", 0, 4, verdict="failed")
    connection = connection_with(
        recordings=[recording("a")],
        segments=[broken],
        failures=[failure("a", "asr", "ENGINE_ERROR", "it broke", segment_id=broken["segment_id"])],
    )
    (loss,) = read_losses(connection)
    assert (loss.what, loss.outcome, loss.reason) == ("segments", "failed", "asr: ENGINE_ERROR")


def test_all_measures_are_columns_and_those_nobody_measured_are_named() -> None:
    page = Page(render_page(small_job(), job_name="j", score=None, clip=silent))
    assert len(page.all("svg")) == 2  # duration and SNR
    for measure in MEASURES[2:]:
        assert measure.title in page.text.partition("Not measured:")[2]


def test_stage_seconds_are_summed_over_runs_in_order_of_first_run() -> None:
    stages = read_stages(small_job())
    assert [(s.stage, s.items, s.compute_s) for s in stages] == [
        ("decode", 6, 3.0),
        ("asr", 40, 60.0),
    ]
    assert stages[1].x_real_time == pytest.approx(0.05 * 3600 / 60)


def test_samples_are_the_smallest_digests_of_each_verdict() -> None:
    connection = small_job(80)
    for kept, verdict, number in ((True, "kept", 12), (False, "dropped", 6)):
        wanted = connection.execute(
            f"SELECT segment_id FROM segments WHERE verdict = '{verdict}' ORDER BY 1 LIMIT {number}"
        ).fetchall()
        rows = read_samples(connection, kept=kept)
        assert sorted(row["segment_id"] for row in rows) == [name for (name,) in wanted]
        assert [row["start_sample"] for row in rows] == sorted(r["start_sample"] for r in rows)


def test_each_sample_has_its_own_player_text_and_captions() -> None:
    asked: list[Mapping[str, Any]] = []

    def clip(row: Mapping[str, Any]) -> bytes | None:
        asked.append(row)
        return None if row["verdict"] == "dropped" else str(row["segment_id"]).encode()

    page = Page(render_page(small_job(40), job_name="j", score=None, clip=clip))
    assert len(asked) == 18
    assert {row["uri"] for row in asked} == {"/in/a.wav"}
    sources = [str(audio["src"]) for audio in page.all("audio")]
    kept = [row for row in asked if row["verdict"] == "kept"]
    assert sources == [
        "data:audio/ogg;base64," + base64.b64encode(row["segment_id"].encode()).decode()
        for row in kept
    ]
    for row in asked:
        assert row["text"] in page.text
    assert page.text.count("A low voice.") == page.text.count("低沉的声音。") == 18
    assert page.text.count("No audio at hand for this segment.") == 6
    assert "snr_db_below_min : 5.00, limit 10.0" in page.text


def test_hostile_text_is_shown_as_text() -> None:
    connection = connection_with(
        recordings=[recording(f"/in/{HOSTILE}/a.wav"), recording("/in/b.wav", outcome="failed")],
        segments=[
            segment(
                f"/in/{HOSTILE}/a.wav",
                0,
                5,
                HOSTILE,
                speaker=HOSTILE,
                caption_style_en=HOSTILE,
                caption_style_zh=HOSTILE,
                safety_flags=[HOSTILE],
                asr_language=HOSTILE,
                quality_engine=HOSTILE,
                reason=HOSTILE,
                verdict="dropped",
            )
        ],
        failures=[failure("/in/b.wav", HOSTILE, HOSTILE, HOSTILE, traceback="secret lines")],
        runs=[run("1", [{"stage": HOSTILE, "engine": HOSTILE, "items": 1, "compute_s": 1.0}])],
    )
    score = score_manifest(connection, {f"/in/{HOSTILE}/a.wav": Reference(HOSTILE, None, "en")})
    html = render_page(connection, job_name=HOSTILE, score=score, clip=silent)
    page = Page(html)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"img", "script", "iframe", "object"}
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    assert page.text.count("<img src=x onerror=alert(1)>") >= 10
    assert not set(html) & set("\u202e\u2066\x1b")
    assert "secret lines" not in html


def test_the_policy_forbids_all_but_what_the_page_needs() -> None:
    html = render_page(small_job(), job_name="j", score=None, clip=opus_tone)
    page = Page(html)
    policies = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert policies == [
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; "
        "base-uri 'none'; form-action 'none'"
    ]
    links = [
        value
        for _, attrs in page.elements
        for name, value in attrs.items()
        if name in ("src", "href", "xlink:href", "action", "srcset")
    ]
    assert links
    assert all(str(link).startswith("data:") for link in links)
    assert "url(http" not in html


def test_the_score_stands_on_the_page_with_its_gaps() -> None:
    connection = small_job(2)
    truth = Reference("sentence number zero; Sentence number one.", (ReferenceTurn(0, 60, "x"),))
    score = score_manifest(connection, {"/in/a.wav": truth, "/in/c.wav": truth})
    page = Page(render_page(connection, job_name="j", score=score, clip=silent))
    assert "Against the ground truth" in page.text
    assert "a.wav en 0.0 % 6 words 0 0 0" in page.text
    assert "a.wav 0.0 % 0.0 % 60.0 s" in page.text
    assert "turns c.wav its input failed (decode: NOT_AUDIO)" in page.text
    without = Page(render_page(connection, job_name="j", score=None, clip=silent))
    assert "Against the ground truth" not in without.text


def test_an_output_without_rows_has_a_page() -> None:
    connection = connection_with()
    page = Page(render_page(connection, job_name="empty", score=None, clip=silent))
    assert set(page.figures.values()) == {0.0}
    assert "There are no inputs yet." in page.text
    assert read_headline(connection).yield_fraction is None


def test_the_same_rows_give_the_same_page_in_one_file(tmp_path: Path) -> None:
    path = write_report(small_job(), tmp_path, job_name="j", score=None, clip=silent)
    first = path.read_bytes()
    write_report(small_job(), tmp_path, job_name="j", score=None, clip=silent)
    assert path == tmp_path / "report" / "index.html"
    assert path.read_bytes() == first
    assert [entry.name for entry in path.parent.iterdir()] == ["index.html"]


def test_a_page_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="the report cannot be written"):
        write_report(connection_with(), tmp_path, job_name="j", score=None, clip=silent)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_shows_the_players_and_complains_about_nothing(tmp_path: Path) -> None:
    path = write_report(small_job(40), tmp_path, job_name="j", score=None, clip=opus_tone)
    shown, complaints = in_chromium(path, tmp_path / "profile")
    assert complaints == []
    assert len(Page(shown).all("audio")) == 18
    broken = path.with_name("broken.html")
    broken.write_text(path.read_text().replace("</main>", "<script>alert(1)</script></main>"))
    assert "Content Security Policy" in in_chromium(broken, tmp_path / "profile")[1][0]


def in_chromium(path: Path, profile: Path) -> tuple[str, list[str]]:
    """The page as the browser holds it, and the lines of its console."""
    done = subprocess.run(
        [
            *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu"),
            *("--enable-logging=stderr", f"--user-data-dir={profile}", "--dump-dom"),
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
