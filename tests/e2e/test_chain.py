"""The demo job, end to end on real Ray with real engines, over a part of the demo corpus."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest

from jobs.cli import main
from pipeline.manifest import Manifest
from pipeline.status import Status, status_of
from schemas.tokens import FINGERPRINT_KEY

ROOT = Path(__file__).resolve().parents[2]
PART = ["telephone.wav", "truncated.mp3", "silence.wav", "noise.wav", "not-audio.wav"]


def arguments(out: Path, *more: str, names: list[str] = PART) -> list[str]:
    return [
        "run",
        str(ROOT / "jobs/demo.yaml"),
        f"inputs.include=[{', '.join(names)}]",
        f"output={out}",
        "run.max_failed_fraction=0.5",
        *more,
    ]


def content(out: Path, table: str) -> list[str]:
    """Rows of a table in an order of their own; files and their names do not matter."""
    return sorted(json.dumps(row, default=str) for row in Manifest(out).table(table).to_pylist())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, ray_of_two_cpus: None) -> Path:
    out = tmp_path_factory.mktemp("chain") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        assert main(arguments(out, "run.workers=2")) == 0
    return out


@pytest.fixture(scope="module")
def status(finished: Path) -> Status:
    return status_of(finished)


def test_every_input_is_accounted_for(status: Status) -> None:
    assert status.inputs == len(PART)
    assert status.inputs == status.done + status.rejected + status.failed + status.pending
    assert (status.pending, status.failed, status.untokenized) == (0, 2, 0)
    assert status.kept > 0


@pytest.mark.parametrize(
    ("name", "error_class", "said"),
    [("truncated.mp3", "TRUNCATED", "s"), ("not-audio.wav", "NOT_AUDIO", "text")],
)
def test_a_malformed_file_is_one_row_with_stage_class_and_a_sentence(
    finished: Path, name: str, error_class: str, said: str
) -> None:
    rows = [r for r in Manifest(finished).table("failures").to_pylist() if r["uri"].endswith(name)]
    assert [(r["stage"], r["error_class"]) for r in rows] == [("decode", error_class)]
    assert said in rows[0]["message"]
    assert rows[0]["traceback"] is None


def test_noise_and_silence_are_rejected_for_having_no_speech(finished: Path) -> None:
    rows = Manifest(finished).table("recordings").to_pylist()
    found = {Path(row["uri"]).name: (row["outcome"], row["reason"]) for row in rows}
    assert found["silence.wav"] == ("rejected", "no_speech")
    assert found["noise.wav"] == ("rejected", "no_speech")


def test_measurements_follow_the_audio(finished: Path) -> None:
    rows = [r for r in Manifest(finished).table("segments").to_pylist() if r["text"]]
    assert rows
    for row in rows:
        assert row["bandwidth_hz"] < 4500, "a telephone call carries nothing above 4 kHz"
        assert 1.0 <= row["dnsmos_ovrl"] <= 5.0
        assert row["num_words"] == len(row["words"])
        for word in row["words"]:
            assert row["start_sample"] <= word["start_sample"] <= word["end_sample"]
            assert word["end_sample"] <= row["end_sample"]
        for column in ("asr_engine", "mos_engine", "quality_engine", "caption_engine"):
            assert row[column]


def test_from_a_code_back_to_the_second_of_the_source_is_one_join(finished: Path) -> None:
    with duckdb.connect(str(finished / "catalog.duckdb"), read_only=True) as db:
        rows = db.execute(
            "SELECT h.file, t.shard_row, t.num_frames, s.start_sample / s.sample_rate_hz, "
            "s.duration_s, r.uri, s.segment_id FROM tokens t JOIN segments s USING (segment_id) "
            "JOIN recordings r USING (source_id) JOIN shards h USING (shard)"
        ).fetchall()
    assert rows
    for file_name, shard_row, num_frames, start_s, duration_s, uri, segment_id in rows:
        path = finished / "shards" / file_name
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            row = file.read().slice(shard_row, 1).to_pylist()[0]
            assert b'"trained":true' in file.schema_arrow.metadata[FINGERPRINT_KEY]
        assert row["segment_id"] == segment_id
        assert row["num_frames"] == num_frames == len(row["q0"]) == len(row["q7"])
        assert abs(num_frames / 25 - duration_s) < 0.08
        assert start_s >= 0
        assert uri.endswith("telephone.wav")
        assert max(row["q0"]) < 1024
        assert max(row["q7"]) < 128
        frames = np.stack([row[f"q{layer}"] for layer in range(8)], axis=1)
        assert len(np.unique(frames, axis=0)) > num_frames / 2, "codes follow the audio"


def test_one_worker_gives_the_rows_that_two_gave(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ray_of_two_cpus: None
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(arguments(tmp_path / "one", "run.workers=1", "run.inputs_per_unit=3")) == 0
    for table in ("recordings", "segments", "turns", "failures", "sketches", "tokens", "shards"):
        assert content(tmp_path / "one", table) == content(finished, table), table


def test_the_report_holds_players_and_the_scores_the_truth(finished: Path) -> None:
    page = (finished / "report" / "index.html").read_text(encoding="utf-8")
    assert "<audio" in page
    scores: dict[str, Any] = json.loads((finished / "scores.json").read_text(encoding="utf-8"))
    assert scores


def test_ctrl_c_stops_cleanly_and_the_next_run_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "jobs.cli", *arguments(out)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 120
        while not _is_measuring(out) and time.monotonic() < deadline:
            time.sleep(0.2)
        children = psutil.Process(process.pid).children(recursive=True)
        # A terminal sends Ctrl-C to the whole group, the workers' keepers among them.
        os.killpg(process.pid, signal.SIGINT)
        printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130, printed
    assert "run the same command to go on" in printed
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []
    half = status_of(out)
    assert half.pending > 0
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    whole = status_of(out)
    assert (whole.pending, whole.done) == (0, 1)


def _is_measuring(out: Path) -> bool:
    return (out / "manifest" / "table=sketches").is_dir()
