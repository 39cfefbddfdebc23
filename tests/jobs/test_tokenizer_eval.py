"""A folder scored: a row per file, means, tables, decoded audio."""

import io
import json
import wave
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from jobs.tokenizer_command import write_wav
from jobs.tokenizer_eval import SCORES_SCHEMA, codebooks_table, evaluate, scores_table
from schemas.errors import SpecError
from schemas.job import TokenizeSpec
from tests.tokenizer.make_sound import make_sound

TINY = Path(__file__).parents[1] / "parity" / "golden" / "tokenizer-tiny"
SPEC = TokenizeSpec(engine="mimo", model=str(TINY), device="cpu", num_codebooks=8)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    write_wav(folder / "a.wav", make_sound(24_000).numpy(), 24_000)
    write_wav(folder / "deep" / "b.wav", make_sound(16_000, seed=1).numpy(), 16_000)
    write_wav(folder / "silent.wav", np.zeros(24_000, np.float32), 24_000)
    (folder / "text.wav").write_text("no audio at all")
    return folder


def test_every_file_has_its_row_and_the_means_are_of_the_kept(
    recordings: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    found = evaluate(str(recordings), out, SPEC)
    table = pq.read_table(out / "scores.parquet")
    assert table.schema.equals(SCORES_SCHEMA)
    rows = {Path(row["uri"]).name: row for row in table.to_pylist()}
    assert {name: row["outcome"] for name, row in rows.items()} == {
        "a.wav": "kept",
        "b.wav": "kept",
        "silent.wav": "dropped",
        "text.wav": "failed",
    }
    assert rows["a.wav"]["cause"] is None
    assert rows["text.wav"]["cause"]
    assert rows["silent.wav"]["cause"].startswith("silent")
    assert rows["silent.wav"]["stoi"] is None
    assert rows["b.wav"]["audio_s"] == pytest.approx(1.0)
    scores = json.loads((out / "scores.json").read_text())
    kept = [rows["a.wav"]["stoi"], rows["b.wav"]["stoi"]]
    assert scores["stoi"] == pytest.approx(np.mean(kept))
    assert (scores["num_kept"], scores["num_dropped"], scores["num_failed"]) == (2, 1, 1)
    assert scores["bitrate_kbps"] == found.bitrate_kbps
    assert not (out / "audio").exists()


def test_the_decoded_audio_is_kept_where_asked_for(recordings: Path, tmp_path: Path) -> None:
    evaluate(str(recordings), tmp_path / "out", SPEC, keep_audio=True)
    written = sorted((tmp_path / "out" / "audio").rglob("*.wav"))
    assert [path.name for path in written] == ["a.wav.wav", "b.wav.wav"]
    with wave.open(str(written[0])) as file:
        assert (file.getframerate(), file.getnframes()) == (24_000, 24_000)


def test_the_tables_show_the_means_beside_published_rows(recordings: Path, tmp_path: Path) -> None:
    found = evaluate(str(recordings / "a.wav"), tmp_path / "out", SPEC)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(scores_table(found))
    console.print(codebooks_table(found))
    shown = console.export_text()
    assert "1 clips, 1.0 s" in shown
    assert "EnCodec 24 kHz (published)" in shown
    assert "perplexity" in shown


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError):
        evaluate(str(tmp_path), tmp_path / "out", SPEC)
